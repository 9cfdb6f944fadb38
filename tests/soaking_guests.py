"""A virtual machine whose disk is replicated, and what its client was told, for the soak."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import kvm_lab
import recorder
from kvm_lab import ADDRESS, NAME, Host
from lab_cluster import Cluster, change_file
from recorder import SharedDisk
from soaking import CLOCK, CLOCK_PROGRAM, CLOCK_STEP, LEASE, Deed, Soak, Undo

from safekit_lab.node import Node

PACE_S = 0.2
"""The guest's ledger takes 16,384 numbers: those of an hour."""
MORE = f"""\
loop_interval: 0s
witness:
  {LEASE}
"""


class Guests(Soak):
    module = NAME
    application = ("qemu-system",)

    def __init__(self, made: Cluster, host: Host, shared: SharedDisk, rng: random.Random) -> None:
        super().__init__(made, shared, rng)
        self._host = host

    def set_up(self) -> None:
        self.witness.set_up()
        for node in self.pair:
            self.made.write(node, CLOCK, CLOCK_PROGRAM)
        kvm_lab.add(self.made, more=MORE)
        change_file(
            self.made, self.pair[0], lambda text: text.replace("- kvm-vm:", f"- {CLOCK_STEP}\n  - kvm-vm:"), NAME
        )
        self.begin(ADDRESS, PACE_S)

    def equip(self, node: Node) -> None:
        self._host.prepare(self.made, node)
        self.made.write(node, CLOCK, CLOCK_PROGRAM)

    def more(self) -> Sequence[Deed]:
        return (self._panic,)

    def _panic(self, node: Node) -> Undo:
        del node
        kvm_lab.tell(self.client, "panic", timeout_s=1.0)
        return lambda: None

    def is_served(self) -> bool:
        return kvm_lab.answers(self.made)

    def lost(self, acknowledged: Sequence[str]) -> list[str]:
        """On the disk of either node; and starts of the guest that wrote after another had begun."""
        found = {node.name: kvm_lab.records(self._host.image(node)) for node in self.pair}
        return [
            f"{name}: {fault}"
            for name, records in found.items()
            for fault in recorder.journal_faults((f"{one.boot} {one.number}" for one in records), acknowledged)
        ]


@contextmanager
def guests(rng: random.Random) -> Iterator[Guests]:
    with (
        recorder.shared_disk() as shared,
        kvm_lab.cluster(clients=2, binds=[shared.bind]) as (made, host),
    ):
        found = Guests(made, host, shared, rng)
        found.set_up()
        yield found
