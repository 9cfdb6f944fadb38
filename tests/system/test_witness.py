"""A mirror with a lease witness on a third machine: never two, whatever fails; and what a lost witness does not do."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator

import lab_cluster
import pytest
import recorder
from lab_cluster import VIP, Cluster, Witness
from recorder import SharedDisk

from safekit_lab.node import Node

pytestmark = pytest.mark.system
LEASE_S = 4.0
ROUNDS = int(os.environ.get("SAFEKIT_ROUNDS", "1"))
SEED = int(os.environ.get("SAFEKIT_SEED", "20261127"))
MODULE = f"""\
kind: mirror
max_loops: 1000
heartbeat: {{interval: 50ms, lost_after: 500ms}}
witness:
  lease: {{token: "file:{Witness.TOKEN}", lease: {LEASE_S:g}s, timeout: 500ms}}
pipeline:
  - vip: {{address: {VIP}/24}}
  - {recorder.STEP}
"""


class Trio:
    """Two nodes, the machine of the witness, and a client that writes all the time."""

    def __init__(self, made: Cluster, disk: SharedDisk) -> None:
        self.made = made
        self.disk = disk
        self.third, self.client = made.lab.clients
        self.witness = Witness(made, self.third)

    def set_up(self) -> None:
        self.witness.set_up()
        for node in self.made.nodes:
            self.made.write(node, recorder.FILE, recorder.PROGRAM)
        lab_cluster.add_mirror(self.made, MODULE)
        self.made.write(self.client, recorder.FILE, recorder.CLIENT)
        self.client.start([sys.executable, recorder.FILE, VIP])
        self.wait_writes()

    def roles(self) -> tuple[Node, Node]:
        return self.made.roles()

    def restore(self) -> None:
        """Every daemon and the witness run, and all is well; the client notices it."""
        for node in self.made.nodes:
            if node.state == "running":
                signal_daemon(node, "CONT")
        if not self.witness.serves:
            self.witness.serve()
        self.made.restore()
        self.wait_writes()

    def wait_writes(self) -> None:
        """The client's writes are acknowledged again."""
        before = len(recorder.acknowledged(self.client))
        self.made.wait(lambda: len(recorder.acknowledged(self.client)) > before, "a write is acknowledged")

    def faults(self) -> list[str]:
        return recorder.faults(self.disk, self.client)


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with recorder.shared_disk() as disk, lab_cluster.cluster(2, clients=2, binds=[disk.bind]) as made:
        found = Trio(made, disk)
        found.set_up()
        yield found


def test_the_recorder_refuses_a_second_writer_and_the_auditor_sees_it(trio: Trio) -> None:
    _, secondary = trio.roles()
    assert trio.faults() == []
    done = secondary.run([sys.executable, recorder.FILE], check=False)
    assert (done.returncode, done.stderr) == (1, "there is another writer\n")
    assert [fault.partition(":")[0] for fault in trio.faults()] == ["a second writer was refused"]
    (trio.disk.place / "refused").unlink()
    wrong = list(recorder.journal_faults(["a 1", "b 2", "a 3"], ["1", "2", "4"]))
    assert wrong == ["4 was acknowledged and is not there", "a wrote again after another had begun"]


def test_the_witness_shows_who_has_the_lease(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.made.wait(lambda: trio.witness.shows(primary), "it has the lease")
    values = json.loads(trio.made.safekit(secondary, "status", "-o", "json").stdout)
    assert "splitbrain.lease" in json.dumps(values)


def test_a_crashed_primary_is_followed_when_its_lease_has_run_out(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.made.follow_crash(primary, secondary)
    why = " ".join(trio.made.safekit(secondary, "why", "web").stdout.split())
    assert "the witness gave this node the lease" in why
    trio.restore()
    assert trio.faults() == []


def test_when_only_the_network_between_the_nodes_is_cut_the_primary_goes_on(trio: Trio) -> None:
    primary, secondary = trio.roles()
    primary.cut(to=secondary)
    trio.made.wait_state(secondary, "web", "WAIT/NotReady")
    assert trio.made.module_state(primary, "web") == "ALONE/Ready"
    assert f"{primary.name} has it" in " ".join(trio.made.safekit(secondary, "why", "web").stdout.split())
    trio.restore()
    assert trio.made.primary() is primary
    assert trio.faults() == []


def test_an_isolated_primary_stops_by_itself_before_the_other_takes_over(trio: Trio) -> None:
    primary, secondary = trio.roles()
    primary.cut()
    trio.made.wait_state(secondary, "web", "ALONE/Ready")
    trio.made.wait_state(primary, "web", "WAIT/NotReady")
    trio.restore()
    assert trio.made.primary() is secondary
    assert trio.faults() == []


def test_a_primary_whose_daemon_stands_still_is_stopped_by_its_host(trio: Trio) -> None:
    primary, secondary = trio.roles()
    signal_daemon(primary, "STOP")
    trio.made.wait_state(secondary, "web", "ALONE/Ready")
    trio.restore()
    assert trio.faults() == []


def test_a_witness_that_dies_stops_nothing_and_is_an_alarm(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.witness.kill()
    trio.made.wait(lambda: "witness cannot be" in trio.made.safekit(primary, "log", "web").stdout, "an alarm")
    before = trio.made.states()
    trio.made.safekit(primary, "module", "swap", "web")
    trio.made.wait(lambda: trio.made.primary() is secondary, "roles are swapped without a witness")
    assert trio.made.is_well(), before
    trio.witness.serve()
    trio.made.wait(lambda: trio.witness.shows(secondary), "it has the lease", 60.0)
    assert trio.faults() == []


def test_another_witness_is_refused_while_it_runs(trio: Trio) -> None:
    first, path = trio.made.nodes[0], "/etc/safekit/modules/web/module.yaml"
    trio.made.write(first, path, MODULE.replace(f"lease: {LEASE_S:g}s", "lease: 8s"))
    done = trio.made.safekit(first, "apply", "web", ok=False)
    assert done.returncode == 6, done.stdout
    assert "would not hold under another witness" in done.stderr
    trio.made.write(first, path, MODULE)


def kill_host(node: Node) -> None:
    node.run(["kill", "-9", *node.run(["pgrep", "-f", "safekit.host web"]).stdout.split()])


def signal_daemon(node: Node, name: str) -> None:
    pid = node.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()
    node.run(["kill", f"-{name}", pid])


def faults(trio: Trio, primary: Node, secondary: Node) -> tuple[Callable[[], None], ...]:
    return (
        primary.crash,
        primary.cut,
        secondary.cut,
        lambda: primary.cut(to=secondary),
        lambda: primary.cut(to=trio.third),
        lambda: primary.cut(to=secondary, direction="in"),
        lambda: primary.loss(40.0),
        lambda: kill_host(primary),
        lambda: signal_daemon(primary, "STOP"),
        trio.witness.kill,
    )


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_under_random_faults_two_never_run(trio: Trio) -> None:
    """SAFEKIT_ROUNDS says how many, SAFEKIT_SEED which: a failure comes again as far as real time lets it.

    Meanwhile a client writes numbers through the virtual address. After each round: no two nodes ran the service at
    one time, by the machine's clock; its lock never refused a second writer; in the journal no process wrote after
    another had begun; every number that was acknowledged is in it. The journal is on a disk that both nodes share, so
    this shows that nobody writes who may not; it says nothing of data that are replicated.

    On 27 November 2026 92 rounds ran (37 with the default seed, 25 with 2, 30 with 3) on two processors shared with
    other work, in 21 minutes: 43,024 writes acknowledged, no fault. The first of the three ended when the hosts had
    been killed more often than `max_loops` allowed then. 200 rounds at a time have not been run.
    """
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        primary, secondary = trio.roles()
        for fault in rng.sample(faults(trio, primary, secondary), rng.randint(1, 2)):
            if "crashed" not in {node.state for node in trio.made.nodes}:
                fault()
        time.sleep(rng.uniform(0.0, 2.0 * LEASE_S))
        trio.restore()
        assert trio.faults() == []
        print(f"round {number + 1}: {len(recorder.acknowledged(trio.client))} writes acknowledged", flush=True)
