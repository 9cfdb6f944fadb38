"""The second way to replicate a guest's disk: QEMU's own mirror to a qemu-nbd on the other node.

A write of the guest is answered when both have it (`write-blocking`). A sync of the guest reaches the first node's disk
only: so it is in QEMU 7.2, and less than what `rfs` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab_cluster import Cluster

from safekit_lab.node import Node

PORT = 10809
DOMAIN = "vm1"


@dataclass(frozen=True, slots=True)
class Mirror:
    made: Cluster
    source: Node
    target: Node

    def begin(self, paths: list[str], copies: str, size: str) -> None:
        """Of each of the running guest's disks at these paths, into that directory; until they are equal."""
        for number, path in enumerate(paths):
            copy, form, port = f"{copies}/{number}", path.rpartition(".")[2], PORT + number
            self.target.run(["qemu-img", "create", "-q", "-f", form, copy, size])
            serve = ["qemu-nbd", "--fork", "--persistent", "--format", form, "--cache", "none", "--export-name", "copy"]
            self.target.run([*serve, "--bind", self.target.address(), "--port", str(port), copy])
            server = {"type": "inet", "host": self.target.address(), "port": str(port)}
            nbd = {"driver": "nbd", "server": server, "export": "copy"}
            self._ask("blockdev-add", {"driver": "raw", "node-name": f"copy{number}", "file": nbd})
            job = {"job-id": f"mirror{number}", "device": self._node(path), "target": f"copy{number}"}
            self._ask("blockdev-mirror", {**job, "sync": "full", "copy-mode": "write-blocking"})
        self.made.wait(lambda: self._is_ready(len(paths)), "both disks are equal", 120.0)

    def _node(self, path: str) -> str:
        """The name of the disk in QEMU."""
        found = [each["inserted"] for each in self._ask("query-block") if each.get("inserted")]
        return next(str(each["node-name"]) for each in found if each["file"] == path)

    def _is_ready(self, count: int) -> bool:
        return sum(bool(job["ready"]) for job in self._ask("query-block-jobs")) == count

    def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        asked = json.dumps({"execute": command, "arguments": arguments or {}})
        answer = json.loads(self.source.run(["virsh", "--quiet", "qemu-monitor-command", DOMAIN, asked]).stdout)
        if "return" not in answer:
            raise RuntimeError(f"{command}: {answer}")
        return answer["return"]
