"""What the console asks safekitd, one method for each operation."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

from safekit_sdk import PeerError
from safekit_sdk.control import AsyncControlClient, ErrorBody, Operator, raise_body

SERVICE = "console"
"""Under this name safekitd keeps our records."""
APPS_S = 60.0
STOP_S = 300.0
"""A secondary may take so long, while its primary goes on."""
SNAPSHOT_S = 90.0
NOBODY = Operator()
"""What is only looked at is nobody's doing."""
Records = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    made: float
    archive: bytes
    missing: dict[str, str]
    """Nodes that are not in it, and why."""


class NodeClient:
    """Errors are those of the SDK, and TimeoutError."""

    def __init__(self, client: AsyncControlClient) -> None:
        self._client = client
        self._apps: list[dict[str, Any]] = []
        self._apps_s = float("-inf")

    async def ask(
        self, op: str, args: dict[str, Any] | None = None, *, by: Operator = NOBODY, timeout_s: float = 10.0
    ) -> Any:
        return await self._client.call(op, args, operator=by, timeout_s=timeout_s)

    async def on(
        self, node: str, op: str, args: dict[str, Any], *, by: Operator = NOBODY, timeout_s: float = 10.0
    ) -> Any:
        """Of one node; its error is raised."""
        answers = await self.fan(op, args, (node,), by=by, timeout_s=timeout_s)
        return result_of(node, answers.get(node, {}))

    async def fan(
        self,
        op: str,
        args: dict[str, Any],
        nodes: tuple[str, ...] = ("*",),
        *,
        by: Operator = NOBODY,
        timeout_s: float = 5.0,
    ) -> dict[str, Any]:
        """Each node's `{"result": …}` or `{"error": …}`."""
        asked = {"op": op, "args": args, "nodes": nodes, "timeout_s": timeout_s}
        return dict(await self._client.call("fan", asked, operator=by, timeout_s=timeout_s + 2.0))

    async def status(self) -> dict[str, Any]:
        return dict(await self.ask("status", timeout_s=3.0))

    async def changes(self, after: str, timeout_s: float) -> str:
        answer = await self.ask("changes", {"after": after, "timeout_s": timeout_s}, timeout_s=timeout_s + 5.0)
        return str(answer["at"])

    async def apps(self) -> list[dict[str, Any]]:
        """The installed apps; known for a minute, as each answer costs safekitd a process that imports them."""
        if time.monotonic() - self._apps_s > APPS_S:
            self._apps = list(await self.ask("apps", timeout_s=40.0))
            self._apps_s = time.monotonic()
        return self._apps

    async def entries(self, node: str, module: str | None, last: int, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
        args = {"module": module, "kinds": kinds, "last": last}
        return list(await self.on(node, "entries", args, timeout_s=5.0))

    async def files(self, module: str) -> dict[str, bytes]:
        """Those in force on this node."""
        found = await self.ask("fetch", {"module": module})
        return {path: base64.b64decode(content) for path, content in found["files"].items()}

    async def version_files(self, module: str, version: int) -> dict[str, bytes]:
        found = await self.ask("version-files", {"module": module, "version": version})
        return {path: base64.b64decode(content) for path, content in found.items()}

    async def plan(self, module: str, files: dict[str, bytes]) -> dict[str, Any]:
        return dict(await self.ask("plan", _request(module, files), timeout_s=60.0))

    async def apply(self, module: str, files: dict[str, bytes], by: Operator) -> dict[str, Any]:
        return dict(await self.ask("apply", _request(module, files), by=by, timeout_s=90.0))

    async def stop(self, module: str, nodes: tuple[str, ...], by: Operator) -> dict[str, Any]:
        """Each node's result or error, as of `fan`; safekitd orders them."""
        asked = {"module": module, "nodes": nodes, "timeout_s": STOP_S}
        return dict(await self.ask("stop", asked, by=by, timeout_s=STOP_S + 15.0))

    async def snapshot(self, by: Operator) -> Snapshot:
        found = await self.ask("snapshot", by=by, timeout_s=SNAPSHOT_S)
        return Snapshot(float(found["made"]), base64.b64decode(found["archive"]), dict(found["missing"]))

    async def shared(self) -> Records:
        return dict(await self.ask("shared", {"service": SERVICE}, timeout_s=5.0))

    async def share(self, records: Records) -> None:
        await self.ask("share", {"service": SERVICE, "records": records}, timeout_s=5.0)

    async def shared_everywhere(self) -> dict[str, Records]:
        """Of each node that answers."""
        answers = await self.fan("shared", {"service": SERVICE}, timeout_s=3.0)
        return {node: answer["result"] for node, answer in answers.items() if "result" in answer}

    async def share_on(self, nodes: tuple[str, ...], records: Records) -> dict[str, Any]:
        return await self.fan("share", {"service": SERVICE, "records": records}, nodes, timeout_s=3.0)


def result_of(node: str, answer: dict[str, Any]) -> Any:
    if error := answer.get("error"):
        body = ErrorBody.model_validate(error)
        raise_body(body.model_copy(update={"message": f"{node}: {body.message}"}))
    if "result" not in answer:
        raise PeerError(f"node '{node}' did not answer")
    return answer["result"]


def _request(module: str, files: dict[str, bytes]) -> dict[str, Any]:
    encoded = {path: base64.b64encode(content).decode() for path, content in files.items()}
    return {"module": module, "files": encoded}
