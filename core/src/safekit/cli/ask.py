"""Questions to the daemon of this node, and through it to the others."""

from __future__ import annotations

import getpass
import os
from typing import Any

from safekit.bus.control import ControlClient
from safekit.bus.messages import ErrorBody, raise_body
from safekit.settings import Settings
from safekit_sdk import ConfigError, PeerError


def ask(op: str, args: dict[str, Any] | None = None, *, timeout_s: float = 30.0) -> Any:
    if os.geteuid() != 0 and not os.access(Settings().run, os.X_OK):
        raise ConfigError("only root may talk to safekitd", hint="use sudo")
    with ControlClient(Settings().control_socket) as client:
        return client.call(op, args, timeout_s=timeout_s)


def ask_nodes(op: str, args: dict[str, Any], nodes: tuple[str, ...], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Each node's result or {"error": …}."""
    fan = {"op": op, "args": args, "nodes": nodes, "timeout_s": timeout_s}
    return dict(ask("fan", fan, timeout_s=timeout_s + 5.0))


def results(answers: dict[str, Any]) -> dict[str, Any]:
    """The results by node; the first error of any node is raised."""
    for node, answer in answers.items():
        if error := answer.get("error"):
            body = ErrorBody.model_validate(error)
            raise_body(body.model_copy(update={"message": f"{node}: {body.message}"}))
    return {node: answer["result"] for node, answer in answers.items()}


def chosen(on: list[str] | None, everywhere: bool) -> tuple[str, ...]:
    """The nodes of `--on` and `--all`; this node when neither is given."""
    if everywhere:
        return ("*",)
    return tuple(on) if on else (str(ask("ping")["node"]),)


def statuses() -> dict[str, Any]:
    return ask_nodes("status", {}, ("*",), timeout_s=3.0)


def operator() -> str:
    """Who gave the command, for the journal."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def unreachable(answer: dict[str, Any]) -> bool:
    return "error" in answer


def one_result(answers: dict[str, Any]) -> Any:
    if not answers:
        raise PeerError("no node answered")
    return next(iter(results(answers).values()))
