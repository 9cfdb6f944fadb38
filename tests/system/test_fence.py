"""A step `fence` on real nodes: who is silent loses its power before it is taken over from."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import lab_cluster
import power_switch
import pytest
import recorder
from lab_cluster import VIP, Cluster, Witness
from power_switch import PowerSwitch
from recorder import SharedDisk

from safekit_lab.node import Node

pytestmark = pytest.mark.system
LEASE_S = 2.5
MODULE = f"""\
kind: mirror
isolation: safety
heartbeat: {{interval: 50ms, lost_after: 500ms}}
pipeline:
  - {power_switch.STEP}
  - vip: {{address: {VIP}/24}}
  - {recorder.STEP}
"""
WITNESS = f"""\
witness:
  lease: {{token: "file:{Witness.TOKEN}", lease: {LEASE_S:g}s, timeout: 500ms}}
"""


@dataclass
class Fenced:
    made: Cluster
    switch: PowerSwitch
    disk: SharedDisk

    def set_up(self) -> None:
        for node in self.made.nodes:
            self.made.write(node, recorder.FILE, recorder.PROGRAM)
        power_switch.connect(self.switch, self.made.lab)
        lab_cluster.add_mirror(self.made, MODULE)
        writer = self.made.lab.client("client2")
        self.made.write(writer, recorder.FILE, recorder.CLIENT)
        writer.start([sys.executable, recorder.FILE, VIP])

    def roles(self) -> tuple[Node, Node]:
        primary, secondary = self.made.roles()
        self.switch.calls.clear()
        return primary, secondary

    def faults(self) -> list[str]:
        """After a write that was acknowledged just now."""
        client = self.made.lab.client("client2")
        before = len(recorder.acknowledged(client))
        self.made.wait(lambda: len(recorder.acknowledged(client)) > before, "a write is acknowledged")
        return recorder.faults(self.disk, client)

    def log(self, node: Node) -> str:
        return " ".join(self.made.safekit(node, "log", "web").stdout.split())


@pytest.fixture(scope="module")
def fenced() -> Iterator[Fenced]:
    with (
        power_switch.power_switch() as switch,
        recorder.shared_disk() as disk,
        lab_cluster.cluster(2, clients=2, binds=[switch.bind, disk.bind]) as made,
    ):
        found = Fenced(made, switch, disk)
        found.set_up()
        yield found


def test_in_a_cut_network_the_secondary_fences_the_primary_and_takes_over(fenced: Fenced) -> None:
    primary, secondary = fenced.roles()
    primary.cut(to=secondary)
    fenced.made.wait_state(secondary, "web", "ALONE/Ready")
    assert primary.state == "crashed"
    assert [(call.node, call.answer) for call in fenced.switch.calls_for("off")] == [(primary.name, "done")]
    assert "and is fenced" in fenced.log(secondary)
    assert fenced.faults() == []


def test_a_fenced_node_that_starts_while_the_network_is_still_cut_waits_and_fences_nobody(fenced: Fenced) -> None:
    primary = fenced.made.primary()
    assert primary is not None
    (other,) = (node for node in fenced.made.nodes if node is not primary)
    fenced.switch.calls.clear()
    other.boot()
    other.cut(to=primary)
    fenced.made.safekit(other, "daemon", "start")
    fenced.made.wait_state(other, "web", "WAIT/NotReady")
    assert fenced.switch.calls_for("off") == []
    assert fenced.made.module_state(primary, "web") == "ALONE/Ready"
    fenced.made.restore()
    assert fenced.made.primary() is primary
    assert fenced.faults() == []


def test_while_the_device_refuses_nothing_is_taken_over_and_it_is_tried_again(fenced: Fenced) -> None:
    primary, secondary = fenced.roles()
    fenced.switch.refuses = True
    primary.cut(to=secondary)
    fenced.made.wait(lambda: "could not be fenced" in fenced.log(secondary), "it says why nothing is taken over")
    assert "alarm" in fenced.log(secondary)
    assert fenced.made.module_state(primary, "web") == "ALONE/Ready"
    fenced.switch.refuses = False
    fenced.made.wait_state(secondary, "web", "ALONE/Ready")
    *tries, last = (call.answer for call in fenced.switch.calls_for("off"))
    assert (set(tries), last) == ({"refused"}, "done")
    assert primary.state == "crashed"
    assert fenced.faults() == []
    fenced.made.boot(primary)
    primary.heal()


@pytest.mark.long
def test_where_a_witness_decides_the_lease_comes_first_then_the_fence_then_the_take_over(fenced: Fenced) -> None:
    made, first = fenced.made, fenced.made.nodes[0]
    Witness(made, made.lab.client("client1")).set_up()
    made.safekit(first, "module", "stop", "web", "--all")
    lab_cluster.add_mirror(made, MODULE + WITNESS)

    primary, secondary = fenced.roles()
    primary.cut(to=secondary)
    made.wait_state(secondary, "web", "WAIT/NotReady")
    assert made.module_state(primary, "web") == "ALONE/Ready"
    assert fenced.switch.calls_for("off") == []
    made.restore()

    primary, secondary = fenced.roles()
    at_s = time.monotonic()
    primary.cut()
    made.wait_state(secondary, "web", "ALONE/Ready")
    (off,) = fenced.switch.calls_for("off")
    assert (off.node, off.answer) == (primary.name, "done")
    assert off.at_s - at_s > LEASE_S
    ran = recorder.spans(fenced.disk.clocks()[secondary.name])
    assert ran[-1][0] > off.at_s
    assert fenced.faults() == []
