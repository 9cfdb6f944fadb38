"""The cluster, as this node's safekitd knows it and reaches it."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from safekit_sdk import ConfigError, PeerError, SafekitError
from safekit_sdk.control import AsyncControlClient, ErrorBody, Operator, raise_body

WORD: Final = "rehearse"
ASK_S: Final = 20.0
DOCTOR_S: Final = 40.0
AGENT_S: Final = 60.0
SERVING: Final = frozenset(("PRIM", "ALONE", "UP"))
RUNNING: Final = frozenset((*SERVING, "SECOND"))


class Promises(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    lost_s: float
    start_s: float
    stop_s: float
    take_over_s: float | None
    fault_s: float | None
    excluded: bool
    fences: bool


class Node(BaseModel):
    """A module on one node, as that says."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    state: str = ""
    readiness: str = ""
    reason: str = ""

    @property
    def serves(self) -> bool:
        return self.state in SERVING and self.readiness == "Ready"

    @property
    def is_well(self) -> bool:
        return self.state in RUNNING and self.readiness == "Ready"

    def __str__(self) -> str:
        return f"{self.state}/{self.readiness}" if self.state else "unknown"


class Cluster:
    def __init__(self, run: Path | None = None) -> None:
        self._client = AsyncControlClient((run or Path(os.environ.get("SAFEKIT_RUN", "/run/safekit"))) / "control.sock")
        self.operator = Operator(os.environ.get("SUDO_USER") or getpass.getuser(), "safekit rehearse")

    async def ask(self, op: str, args: Mapping[str, Any] | None = None, timeout_s: float = ASK_S) -> Any:
        return await self._client.call(op, dict(args or {}), operator=self.operator, timeout_s=timeout_s)

    async def fan(
        self, op: str, args: Mapping[str, Any], nodes: tuple[str, ...] = ("*",), timeout_s: float = ASK_S
    ) -> dict[str, Any]:
        """By node the result, or {"error": …}."""
        given = {"op": op, "args": dict(args), "nodes": nodes, "timeout_s": timeout_s}
        return dict(await self.ask("fan", given, timeout_s + 10.0))

    async def agent(self, node: str, request: Mapping[str, Any], timeout_s: float = AGENT_S) -> Any:
        """What the agent on that node answers."""
        args = {"word": WORD, "request": dict(request), "timeout_s": timeout_s}
        answer = (await self.fan("agent", args, (node,), timeout_s))[node]
        if error := answer.get("error"):
            raise_body(ErrorBody.model_validate(error))
        return answer["result"]

    async def undo(self, node: str, timeout_s: float = 8.0) -> bool:
        """Whether the node said that its drill is undone; one that cannot be reached undoes it by itself."""
        try:
            await self.agent(node, {"do": "undo"}, timeout_s)
        except (SafekitError, TimeoutError):
            return False
        return True

    async def states(self, module: str) -> dict[str, Node]:
        """By node; one that does not answer is unknown."""
        answers = await self.fan("status", {}, timeout_s=3.0)
        found = {}
        for node, answer in answers.items():
            modules = (answer.get("result") or {}).get("modules", ())
            found[node] = next((Node.model_validate(one) for one in modules if one["name"] == module), Node())
        return found

    async def is_heard(self, node: str) -> bool:
        """By this node, as its heartbeats come."""
        peers = (await self.ask("status"))["peers"]
        return any(peer["node"] == node and peer["alive"] for peer in peers)

    async def description(self, module: str) -> dict[str, Any]:
        """The module as this node has it."""
        status = await self.ask("status")
        for one in status["modules"]:
            if one["name"] == module:
                return dict(one)
        names = ", ".join(one["name"] for one in status["modules"]) or "none"
        raise ConfigError(f"there is no module '{module}' on this node", hint=f"there are: {names}")

    async def findings(self, module: str) -> list[dict[str, Any]]:
        report = await self.ask("diagnose", {"module": module}, DOCTOR_S)
        return list(report["findings"])

    async def decisions(self, module: str, since: float, nodes: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
        """By node, of those that answer."""
        args = {"module": module, "kinds": ["decision"], "since": since, "last": 200}
        answers = await self.fan("entries", args, nodes)
        return {node: answer["result"] for node, answer in answers.items() if "result" in answer}

    async def promises(self, module: str) -> Promises:
        return Promises.model_validate(await self.ask("promises", {"module": module}))

    async def key_of(self, node: str) -> str:
        answer = (await self.fan("report-key", {}, (node,)))[node]
        if answer.get("error"):
            raise PeerError(f"{node} does not answer: whether the key is its own cannot be told")
        return str(answer["result"])
