"""A mirror with replicated data and a farm, and real clients of both, for the soak."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lab_cluster
import ledger
import recorder
from lab_cluster import VIP, Cluster
from ledger import Disks
from recorder import SharedDisk
from soaking import CLOCK, CLOCK_PROGRAM, CLOCK_STEP, LEASE, Soak

from safekit_lab.node import Node

FARM_VIP = "10.77.0.101"
CLIENTS = tuple(f"10.77.0.{number}" for number in range(120, 130))
MODULE = f"""\
kind: mirror
nodes: [NODES]
loop_interval: 0s
heartbeat: {{interval: 50ms, lost_after: 800ms}}
witness:
  {LEASE}
pipeline:
{ledger.STEPS}
  - {CLOCK_STEP}
  - vip: {{address: {VIP}/24}}
"""
ASK = """\
import http.client, sys
for client in sys.argv[2:]:
    connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=2, source_address=(client, 0))
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
"""
READ = f"""\
import socket, sys
with socket.create_connection((sys.argv[1], {recorder.PORT}), timeout=30) as there:
    there.sendall(b"all\\n")
    print(there.makefile().readline(), end="")
"""


class Files(Soak):
    module = "ledger"
    application = ("opt/ledger[.]py", "apache2")

    def __init__(self, made: Cluster, disks: Disks, shared: SharedDisk, rng: random.Random) -> None:
        super().__init__(made, shared, rng)
        self._disks = disks

    def set_up(self) -> None:
        self.witness.set_up()
        for node in self.pair:
            self.equip(node)
        first, second = self.pair
        text = MODULE.replace("NODES", f"{first.name}, {second.name}")
        self.made.write(first, f"/etc/safekit/modules/{self.module}/module.yaml", text)
        self.made.safekit(first, "apply", self.module)
        self.made.safekit(first, "module", "prim", self.module, "--force")
        self.made.safekit(second, "module", "start", self.module)
        lab_cluster.add_apache_farm(self.made, "--vip", f"{FARM_VIP}/24")
        for client in CLIENTS:
            self.client.run(["ip", "address", "add", f"{client}/24", "dev", "eth0"])
        self.begin(VIP)

    def equip(self, node: Node) -> None:
        self._disks.mount(self.made, node)
        self.made.write(node, CLOCK, CLOCK_PROGRAM)

    def is_served(self) -> bool:
        """Every client of the farm."""
        if not self.made.shares_are_complete():
            return False
        return self.client.run(["python3", "-c", ASK, FARM_VIP, *CLIENTS], check=False).returncode == 0

    def lost(self, acknowledged: Sequence[str]) -> list[str]:
        there = _numbers(self.client.run(["python3", "-c", READ, VIP]).stdout)
        missing = sorted(set(map(int, acknowledged)) - there)
        return [f"{len(missing)} acknowledged numbers are not there, {missing[0]} the first"] if missing else []


def _numbers(text: str) -> set[int]:
    """Of `1-5,7-9`."""
    spans = (part.split("-") for part in text.strip().split(",") if part)
    return {number for low, high in spans for number in range(int(low), int(high) + 1)}


@contextmanager
def files(rng: random.Random) -> Iterator[Files]:
    with (
        ledger.disks() as disks,
        recorder.shared_disk() as shared,
        lab_cluster.cluster(3, clients=2, binds=[disks.bind, shared.bind]) as made,
    ):
        found = Files(made, disks, shared, rng)
        found.set_up()
        yield found
