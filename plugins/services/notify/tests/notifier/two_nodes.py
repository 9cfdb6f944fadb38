"""Two nodes as their safekitds describe them, and a notifier on one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safekit_notify.cluster import Cluster
from safekit_notify.config import NotifyConfig
from safekit_notify.following import Follower
from safekit_notify.store import Store

from safekit_sdk import ConfigError
from safekit_sdk.control import ControlClient
from safekit_sdk.testing.daemon import control_socket

NODES = ("node1", "node2")
WALL_S = 1_000_000.0
CONFIG = {"destinations": [{"name": "all", "url": "json://127.0.0.1:9/"}]}


@dataclass
class Nodes:
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {node: [] for node in NODES})
    records: dict[str, dict[str, Any]] = field(default_factory=lambda: {node: {} for node in NODES})
    incarnation: int = 7
    lost: set[str] = field(default_factory=set)
    whys: dict[str, Any] = field(default_factory=dict)

    def decide(
        self, node: str, decision: str, severity: str = "info", module: str = "web", wall_s: float = WALL_S, **more: Any
    ) -> None:
        body = {"decision": decision, "severity": severity, "rule": "takeover", "before": "", "after": "", **more}
        entry = {"id": len(self.entries[node]) + 1, "incarnation": self.incarnation, "wall": wall_s}
        self.entries[node].append({**entry, "module": module, "body": json.dumps(body)})

    def perform(self, own: str, op: str, args: dict[str, Any]) -> Any:
        if op == "fan":
            nodes = NODES if "*" in args["nodes"] else args["nodes"]
            return {node: self._of(node, args) for node in nodes}
        if op == "share":
            self.records[own] |= args["records"]
            return {"taken": 1}
        if op == "shared":
            return self.records[own]
        if op == "entries":
            return [one for one in self.entries[own] if one["id"] > args["after_id"]][-args["last"] :]
        if op == "why":
            return self.whys
        if op == "status":
            peers = [{"node": one, "alive": one not in self.lost, "incarnation": self.incarnation} for one in NODES]
            others = [peer for peer in peers if peer["node"] != own]
            return {"node": own, "cluster": "lab", "incarnation": self.incarnation, "peers": others}
        raise ConfigError(f"there is no operation '{op}'")

    def _of(self, node: str, args: dict[str, Any]) -> dict[str, Any]:
        if node in self.lost:
            return {"error": {"code": "peer", "message": "it is not heard"}}
        return {"result": self.perform(node, args["op"], args["args"])}


@dataclass
class Notifier:
    follower: Follower
    store: Store

    def titles(self) -> list[str]:
        return [queued.message.title for queued in self.store.queued()]


@contextmanager
def notifier(nodes: Nodes, own: str, directory: Path, **config: Any) -> Iterator[Notifier]:
    """Of one node; it begins where it ended before."""
    door, store = directory / f"{own}.sock", Store(directory / f"{own}.db")
    with control_socket(door, lambda op, args: nodes.perform(own, op, args)):
        made = NotifyConfig.model_validate(CONFIG | config)
        yield Notifier(Follower(Cluster(ControlClient(door)), store, made), store)
    store.close()
