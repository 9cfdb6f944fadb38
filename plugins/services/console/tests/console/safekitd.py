"""A safekitd of two nodes to test the console against: it speaks the real protocol, and keeps records as the real one
does. What it says of modules is set by the test. The real one is in tests/system."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

from safekit_sdk import ConfigError
from safekit_sdk.control import CALL, MAX_CALL_BYTES, Answer, decode, encode, error_body, frame, read_frame

NODES = ("node1", "node2")
COMPILED = {"isolation": "availability", "heartbeat": {"lost_after": "1s"}, "rules": [], "conditions": {}}


def module(name: str, state: str, readiness: str = "Ready", kind: str = "mirror", **more: Any) -> dict[str, Any]:
    plain = {"desired": True, "failover": True, "running": "", "loops": 0, "revision": 1, "values": [], "steps": []}
    return {
        "name": name,
        "kind": kind,
        "nodes": list(NODES),
        "state": state,
        "readiness": readiness,
        "reason": f"it is {state}",
        "since_s": 5.0,
        "farm": None,
        **plain,
        **more,
    }


class Safekitd:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules: dict[str, list[dict[str, Any]]] = {node: [] for node in NODES}
        self.records: dict[str, dict[str, dict[str, Any]]] = {node: {} for node in NODES}
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        """What was asked for that changes something: operation, arguments, by whom."""
        self.lost: set[str] = set()
        self.inspected: dict[str, dict[str, str]] = {}
        self._number = 0
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change(self) -> None:
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(frame(encode(await self._answer(reader))))
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        call = decode(CALL, await read_frame(reader), MAX_CALL_BYTES)
        try:
            return Answer(id=call.id, result=await self._perform("node1", call.op, call.args, call.by))
        except ConfigError as error:
            return Answer(id=call.id, error=error_body(error))

    async def _perform(self, node: str, op: str, args: dict[str, Any], by: str) -> Any:
        if op == "fan":
            nodes = NODES if "*" in args["nodes"] else args["nodes"]
            if not set(nodes) <= set(NODES):
                raise ConfigError("there is no such node in this cluster")
            return {name: await self._of(name, args, by) for name in nodes}
        if op == "changes":
            if args["after"] == str(self._number):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(args["timeout_s"]):
                        await self._changed.wait()
            return {"at": str(self._number)}
        answer = {
            "ping": {"node": node, "cluster": "lab", "addresses": {name: [f"10.0.0.{name[-1]}"] for name in NODES}}
            | {"networks": {"lan": "10.0.0.1"}},
            "status": self._status(node),
            "shared": self.records[node],
            "entries": [_entry(1), _entry(2)],
            "rules": {"node": node, "state": "PRIM", "readiness": "Ready", "held_s": {}, "swap_obstacle": ""}
            | {"loops": 0, "module": COMPILED},
            "why": {"change": _decision(), "wall": time.time(), "before": [], "after": []},
            "inspect": self.inspected,
            "versions": [{"number": 1, "time": 0.0, "author": "", "digest": "d"}],
            "diagnose": {"findings": [], "nodes": list(NODES), "modules": [], "not_looked_at": []},
            "apps": [{"name": "apache", "summary": "Apache", "schema": {}, "trouble": ""}],
            "module-file": {"text": "kind: light\n"},
            "fetch": {"files": {"module.yaml": "a2luZDogbGlnaHQK"}, "revision": 1},
            "version-files": {"module.yaml": "a2luZDogbGlnaHQK"},
            "plan": {name: {"lines": ["it starts"], "plan": {"changed": True}} for name in NODES},
            "validate": {"kind": "light", "steps": [], "checkers": [], "findings": [], "warnings": []},
        }.get(op)
        if answer is None:
            answer = self._change(node, op, args, by)
        return answer

    async def _of(self, node: str, args: dict[str, Any], by: str) -> dict[str, Any]:
        if node in self.lost:
            return {"error": {"code": "peer", "message": f"node '{node}' does not answer"}}
        return {"result": await self._perform(node, args["op"], args["args"], by)}

    def _change(self, node: str, op: str, args: dict[str, Any], by: str) -> Any:
        if op == "share":
            known = self.records[node]
            known |= {key: one for key, one in args["records"].items() if _weight(one) > _weight(known.get(key))}
            return {"taken": 1}
        self.asked.append((op, args, by))
        if op == "snapshot":
            return {"made": 1.0, "archive": "H4sI", "missing": {"node2": "it is not heard"}}
        if op == "stop":
            return {name: {"result": {"decisions": ["stop asked for"]}} for name in args["nodes"]}
        return {"decisions": [f"{op} asked for"], "revision": 2, "token": "T", "nodes": {}, "late": []}

    def _status(self, node: str) -> dict[str, Any]:
        peers = [{"node": name, "alive": name not in self.lost} for name in NODES if name != node]
        return {"node": node, "cluster": "lab", "started": 1.0, "alarms": [], "peers": peers} | {
            "modules": self.modules[node]
        }


def _weight(record: dict[str, Any] | None) -> tuple[int, str]:
    return (record["number"], record["value"]) if record else (0, "")


def _decision() -> dict[str, Any]:
    plain = {"facts": {}, "considered": [], "prevent": "", "severity": "info"}
    return {
        "decision": "taking over",
        "rule": "takeover",
        "before": "SECOND/Ready",
        "after": "ALONE/Transient",
        **plain,
    }


def _entry(number: int) -> dict[str, Any]:
    body = json.dumps(_decision())
    return {"id": number, "wall": float(number), "kind": "decision", "module": "web", "type": "takeover", "body": body}
