"""A mirror with a lease witness on a third machine: never two, whatever fails; and what a lost witness does not do."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lab_cluster
import pytest
import recorder
from lab_cluster import VIP, Cluster

from safekit_lab.node import Node
from safekit_lab.process import Process

pytestmark = pytest.mark.system
WITNESS = str(Path(sys.prefix) / "bin" / "safekit-witness")
LEASE_S = 4.0
ROUNDS = int(os.environ.get("SAFEKIT_ROUNDS", "1"))
TOKEN = "/etc/safekit/witness.token"
MODULE = f"""\
kind: mirror
heartbeat: {{interval: 50ms, lost_after: 500ms}}
witness:
  lease: {{token: "file:{TOKEN}", lease: {LEASE_S:g}s, timeout: 500ms}}
pipeline:
  - vip: {{address: {VIP}/24}}
  - service: {{name: recorder, command: ["{sys.executable}", /opt/recorder.py]}}
"""


class Trio:
    """Two nodes and the machine of the witness."""

    def __init__(self, made: Cluster) -> None:
        self.made = made
        self.third = made.lab.client()
        self._serving: Process | None = None

    def set_up(self) -> None:
        self.third.run([WITNESS, "init", "--address", self.third_address])
        token = self.third.run([WITNESS, "admit", "lab"]).stdout
        self.serve()
        for node in self.made.nodes:
            self.made.write(node, TOKEN, token, mode="0600")
            self.made.write(node, "/opt/recorder.py", recorder.PROGRAM)
        first = self.made.nodes[0]
        first.run(["mkdir", "-p", "/etc/safekit/modules/web"])
        self.made.write(first, "/etc/safekit/modules/web/module.yaml", MODULE)
        self.made.safekit(first, "apply", "web")
        self.made.safekit(first, "module", "start", "web", "--all")
        self.made.wait(self.made.is_well, "one is primary, one secondary", 60.0)

    @property
    def third_address(self) -> str:
        return "10.77.0.201"

    def serve(self) -> None:
        self._serving = self.third.start([WITNESS, "run"])
        self.made.wait(lambda: self.third.run([WITNESS, "show"], check=False).returncode == 0, "the witness serves")

    def kill_witness(self) -> None:
        assert self._serving is not None
        self._serving.kill(signal.SIGKILL)
        self._serving.wait(10.0)

    def roles(self) -> tuple[Node, Node]:
        self.made.wait(self.made.is_well, "one is primary, one secondary", 90.0)
        primary, secondary = self.made.primary(), self.made.secondary()
        assert primary is not None
        assert secondary is not None
        return primary, secondary

    def restore(self) -> None:
        """Every node runs and hears all, and all is well."""
        for node in self.made.nodes:
            if node.state == "crashed":
                node.boot()
                self.made.safekit(node, "daemon", "start")
            node.heal()
        self.roles()

    def twice(self) -> list[str]:
        logs = {node.name: node.run(["cat", recorder.LOG], check=False).stdout for node in self.made.nodes}
        return recorder.overlaps(logs)


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with lab_cluster.cluster(2, clients=1) as made:
        found = Trio(made)
        found.set_up()
        yield found


def test_the_witness_shows_who_has_the_lease(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.made.wait(lambda: primary.name in trio.third.run([WITNESS, "show"]).stdout, "it has the lease")
    values = json.loads(trio.made.safekit(secondary, "status", "-o", "json").stdout)
    assert "splitbrain.lease" in json.dumps(values)


def test_a_crashed_primary_is_followed_when_its_lease_has_run_out(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.made.follow_crash(primary, secondary)
    why = " ".join(trio.made.safekit(secondary, "why", "web").stdout.split())
    assert "the witness gave this node the lease" in why
    trio.restore()
    assert trio.twice() == []


def test_when_only_the_network_between_the_nodes_is_cut_the_primary_goes_on(trio: Trio) -> None:
    primary, secondary = trio.roles()
    primary.cut(to=secondary)
    trio.made.wait_state(secondary, "web", "WAIT/NotReady")
    assert trio.made.module_state(primary, "web") == "ALONE/Ready"
    assert f"{primary.name} has it" in " ".join(trio.made.safekit(secondary, "why", "web").stdout.split())
    trio.restore()
    assert trio.made.primary() is primary
    assert trio.twice() == []


def test_an_isolated_primary_stops_by_itself_before_the_other_takes_over(trio: Trio) -> None:
    primary, secondary = trio.roles()
    primary.cut()
    trio.made.wait_state(secondary, "web", "ALONE/Ready")
    trio.made.wait_state(primary, "web", "WAIT/NotReady")
    trio.restore()
    assert trio.made.primary() is secondary
    assert trio.twice() == []


def test_a_primary_whose_daemon_stands_still_is_stopped_by_its_host(trio: Trio) -> None:
    primary, secondary = trio.roles()
    pid = primary.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()
    primary.run(["kill", "-STOP", pid])
    trio.made.wait_state(secondary, "web", "ALONE/Ready")
    primary.run(["kill", "-CONT", pid])
    trio.restore()
    assert trio.twice() == []


def test_a_witness_that_dies_stops_nothing_and_is_an_alarm(trio: Trio) -> None:
    primary, secondary = trio.roles()
    trio.kill_witness()
    trio.made.wait(lambda: "witness cannot be" in trio.made.safekit(primary, "log", "web").stdout, "an alarm")
    before = trio.made.states()
    trio.made.safekit(primary, "module", "swap", "web")
    trio.made.wait(lambda: trio.made.primary() is secondary, "roles are swapped without a witness")
    assert trio.made.is_well(), before
    trio.serve()
    trio.made.wait(lambda: secondary.name in trio.third.run([WITNESS, "show"]).stdout, "it has the lease", 60.0)
    assert trio.twice() == []


def test_another_witness_is_refused_while_it_runs(trio: Trio) -> None:
    first, path = trio.made.nodes[0], "/etc/safekit/modules/web/module.yaml"
    trio.made.write(first, path, MODULE.replace(f"lease: {LEASE_S:g}s", "lease: 8s"))
    done = trio.made.safekit(first, "apply", "web", ok=False)
    assert done.returncode == 6, done.stdout
    assert "would not hold under another witness" in done.stderr
    trio.made.write(first, path, MODULE)


def kill_host(node: Node) -> None:
    node.run(["kill", "-9", *node.run(["pgrep", "-f", "safekit.host web"]).stdout.split()])


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
    )


def test_under_random_faults_two_never_run(trio: Trio) -> None:
    """SAFEKIT_ROUNDS says how many; the seed is fixed, so that a failure comes again as far as real time lets it."""
    rng = random.Random(20261127)
    for _ in range(ROUNDS):
        primary, secondary = trio.roles()
        for fault in rng.sample(faults(trio, primary, secondary), rng.randint(1, 2)):
            if "crashed" not in {node.state for node in trio.made.nodes}:
                fault()
        time.sleep(rng.uniform(0.0, 2.0 * LEASE_S))
        trio.restore()
        assert trio.twice() == []
