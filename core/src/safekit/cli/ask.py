"""Questions to the daemon of this node, and through it to the others."""

from __future__ import annotations

import getpass
import os
from typing import Any, Final

from safekit.settings import Settings
from safekit_sdk import PeerError
from safekit_sdk.control import ControlClient, ErrorBody, Operator, raise_body

ANSWER_S: Final = 5.0
"""How long the daemon may take to say that it is there."""


def ask(op: str, args: dict[str, Any] | None = None, *, timeout_s: float = 30.0) -> Any:
    return ControlClient(Settings().control_socket, _operator()).call(op, args, timeout_s=timeout_s)


def answers() -> bool:
    """Whether the daemon of this node does; it is not waited for where none holds the lock."""
    from safekit.daemon.aftermath import lock_holder

    try:
        ask("ping", timeout_s=ANSWER_S if lock_holder(Settings().run / "safekitd.lock") else 0.0)
    except (PeerError, TimeoutError):
        return False
    return True


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


def _operator() -> Operator:
    """Who gives the command and from where, for the journal."""
    remote = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return Operator(os.environ.get("SUDO_USER") or getpass.getuser(), f"ssh from {remote}" if remote else "")


def unreachable(answer: dict[str, Any]) -> bool:
    return "error" in answer


def one_result(answers: dict[str, Any]) -> Any:
    if not answers:
        raise PeerError("no node answered")
    return next(iter(results(answers).values()))
