"""Applications with data on real nodes, added by one command: what a client was told is there whatever dies."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import apps_lab
import lab_cluster
import ledger
import postgresql_lab
import pytest
from apps_lab import CLIENT, KINDS
from lab_cluster import Cluster
from ledger import Disks

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ledger.disks() as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_what_was_acknowledged_is_there_after_a_kill_a_crash_and_a_swap(name: str, disks: Disks) -> None:
    kind = KINDS[name]
    with lab_cluster.cluster(binds=[disks.bind]) as made:
        for node in made.nodes:
            disks.mount(made, node)
        kind.make(made)
        apps_lab.add(made, kind)
        client = made.lab.client()
        program = CLIENT.format(acknowledged=postgresql_lab.ACKNOWLEDGED, argv=kind.writes, answer=kind.answer)
        made.write(client, "/opt/client.py", program)
        asking = client.start([sys.executable, "/opt/client.py"])
        goes_on(made)
        apps_lab.kill(made, kind)
        goes_on(made)
        crash(made, disks)
        goes_on(made)
        swap(made)
        goes_on(made)
        asking.kill()
        asking.wait(10.0)
        primary, secondary = made.roles()
        made.wait(lambda: postgresql_lab.is_paired(primary), "the secondary has everything", 90.0)
        there = kind.numbers(primary) if kind.numbers else None
        for node in (secondary, primary):
            made.safekit(node, "module", "stop", "web")
            assert node.run(["pgrep", "-f", kind.process], check=False).stdout == ""
        there = disks.numbers(primary) if there is None else there
        assert len(postgresql_lab.told(client)) > 80
        assert postgresql_lab.told(client) <= there


def goes_on(made: Cluster) -> None:
    known = len(postgresql_lab.told(made.lab.client()))
    made.wait(lambda: len(postgresql_lab.told(made.lab.client())) >= known + 20, "the client goes on", 60.0)


def crash(made: Cluster, disks: Disks) -> None:
    primary, survivor = made.roles()
    made.follow_crash(primary, survivor)
    goes_on(made)
    primary.boot()
    disks.mount(made, primary)
    made.safekit(primary, "daemon", "start")
    made.wait(lambda: postgresql_lab.is_paired(survivor), "both have everything again", 90.0)


def swap(made: Cluster) -> None:
    _, secondary = made.roles()
    made.swap(secondary)
