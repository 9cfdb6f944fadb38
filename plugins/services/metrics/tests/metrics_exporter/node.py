"""A node with a mirror that replicates, and a farm, as its safekitd describes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safekit_metrics.collector import Exporter

from safekit_sdk import ConfigError
from safekit_sdk.control import ControlClient
from safekit_sdk.testing.daemon import control_socket


def module(name: str, **more: Any) -> dict[str, Any]:
    plain = {"kind": "mirror", "nodes": ["node1", "node2"], "reason": "", "running": "", "loops": 0, "farm": None}
    said = {"state": "PRIM", "readiness": "Ready", "since_s": 5.0, "epoch": 7, "desired": True, "failover": True}
    return {"name": name, "active": True, "values": [], "steps": [], **plain, **said, **more}


def value(resource: str, said: str) -> dict[str, Any]:
    return {"resource": resource, "value": said, "reason": "", "since_s": 1.0, "facts": {}}


FARM = {"owners": ["node1"] * 100 + ["node2"] * 100 + [""] * 56, "held": 64, "moving": 3, "weight": 2}
REPLICATED = {
    "connected": "True",
    "up_to_date": "True",
    "lag_bytes": "4096",
    "marks": "12",
    "sent_bytes": "1000000",
    "peer_address": "10.0.0.2",
    "resync.left_s": "1.5",
}


@dataclass
class Node:
    incarnation: int = 1
    modules: list[dict[str, Any]] = field(default_factory=list)
    inspected: dict[str, dict[str, str]] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    is_silent: bool = False

    def decide(self, wall: float, rule: str, before: str, after: str, severity: str = "info") -> None:
        body = json.dumps({"rule": rule, "before": before, "after": after, "severity": severity, "decision": "it does"})
        self.entries.append({"id": len(self.entries) + 1, "wall": wall, "module": "web", "body": body})

    def perform(self, op: str, args: dict[str, Any]) -> Any:
        if self.is_silent:
            raise ConfigError("it has another version")
        if op == "entries":
            return [entry for entry in self.entries if entry["id"] > args["after_id"]][-args["last"] :]
        peer = {"node": "node2", "alive": True, "networks": {"a": 0.04, "b": 31.0}}
        return {
            "ping": {"version": "0.1.0"},
            "inspect": self.inspected,
            "status": {"node": "node1", "cluster": "lab", "incarnation": self.incarnation, "started": 1.7e9}
            | {"pid": os.getpid(), "alarms": ["the disk is full"], "peers": [peer], "modules": self.modules},
        }[op]

    @contextmanager
    def exporter(self, directory: Path) -> Iterator[Exporter]:
        """One that repeats nothing."""
        with control_socket(directory / "c", self.perform):
            yield Exporter(ControlClient(directory / "c"), fresh_s=-1.0)
