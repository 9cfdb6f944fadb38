"""A mirror whose data are replicated, on real nodes: what a client was told is found again, whoever died."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lab_cluster
import ledger
import pytest
import recorder
from lab_cluster import VIP, Cluster
from ledger import Disks

from safekit_lab.node import Node
from safekit_lab.process import Process

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
MODULE = f"""\
kind: mirror
isolation: availability
heartbeat: {{interval: 50ms, lost_after: 800ms}}
pipeline:
{ledger.STEPS}
  - vip: {{address: {VIP}/24}}
"""


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ledger.disks() as made:
        yield made


@pytest.fixture
def made(disks: Disks) -> Iterator[Cluster]:
    with lab_cluster.cluster(binds=[disks.bind]) as cluster:
        for node in cluster.nodes:
            disks.mount(cluster, node)
        lab_cluster.add_replicated_mirror(cluster, MODULE)
        cluster.wait(lambda: both_up_to_date(cluster), "the secondary has everything", 60.0)
        yield cluster


def values(made: Cluster, node: Node) -> dict[str, str]:
    result = made.statuses(node).get(node.name, {}).get("result") or {}
    modules = [found for found in result.get("modules", ()) if found["name"] == "web"]
    return {value["resource"]: value["value"] for module in modules for value in module["values"]}


def both_up_to_date(made: Cluster) -> bool:
    return made.is_well() and all(values(made, node).get("rfs.uptodate") == "up" for node in made.nodes)


def begin(made: Cluster) -> Process:
    made.write(made.lab.client(), "/opt/client.py", recorder.CLIENT)
    return made.lab.client().start(["python3", "/opt/client.py", VIP])


def end(made: Cluster, asking: Process, more: int = 25) -> set[int]:
    """The numbers that were acknowledged, some of them after all that happened."""
    known = len(recorder.acknowledged(made.lab.client()))
    made.wait(lambda: len(recorder.acknowledged(made.lab.client())) > known + more, "the client goes on", 60.0)
    asking.kill()
    asking.wait(10.0)
    return set(map(int, recorder.acknowledged(made.lab.client())))


def power_on(made: Cluster, disks: Disks, node: Node) -> None:
    node.boot()
    disks.mount(made, node)
    made.safekit(node, "daemon", "start")


def crash(made: Cluster, disks: Disks) -> None:
    primary, survivor = made.roles()
    made.follow_crash(primary, survivor)
    power_on(made, disks, primary)


def lose_the_secondary(made: Cluster, disks: Disks) -> None:
    primary, secondary = made.roles()
    secondary.crash()
    made.wait_state(primary, "web", "ALONE/Ready")
    power_on(made, disks, secondary)


def lose_both(made: Cluster, disks: Disks) -> None:
    """Nobody has to say who goes on: each tells what it has before it is anything."""
    for node in made.nodes:
        node.crash()
    for node in made.nodes:
        power_on(made, disks, node)


def lose_both_hosts(made: Cluster, disks: Disks) -> None:
    for node in made.nodes:
        node.run(["kill", "-9", *node.run(["pgrep", "-f", "safekit[.]host web"]).stdout.split()])


def swap(made: Cluster, disks: Disks) -> None:
    _, secondary = made.roles()
    made.swap(secondary)


def kill_the_data_path(made: Cluster, disks: Disks) -> None:
    primary, _ = made.roles()
    found = primary.run(["pgrep", "-f", "safekit_resource_rfs.datapath"]).stdout.split()
    primary.run(["kill", "-9", *found])


def change_a_setting(made: Cluster, disks: Disks) -> None:
    """Under the live mount; the program on it goes on."""
    primary, before = made.roles()[0], programs(made)
    lab_cluster.change_file(made, primary, lambda text: text.replace("directory:", "bandwidth: 8M, directory:", 1))
    assert programs(made) == before
    assert made.roles()[0] is primary


def change_the_mode(made: Cluster, disks: Disks) -> None:
    """The program on it is stopped before, and started after."""
    primary, before = made.roles()[0], programs(made)
    lab_cluster.change_file(made, primary, lambda text: text.replace("directory:", "mode: ordered, directory:", 1))
    made.wait(lambda: programs(made) not in ([], before), "the program is started again", 60.0)
    assert made.roles()[0] is primary


def programs(made: Cluster) -> list[str]:
    return made.roles()[0].run(["pgrep", "-f", ledger.FILE], check=False).stdout.split()


LONG = [
    pytest.param(deed, marks=pytest.mark.long)
    for deed in (lose_the_secondary, lose_both_hosts, kill_the_data_path, change_a_setting, change_the_mode)
]


@pytest.mark.parametrize("deed", [crash, lose_both, swap, *LONG])
def test_what_was_acknowledged_is_there_afterwards_on_both(
    made: Cluster, disks: Disks, deed: Callable[[Cluster, Disks], None]
) -> None:
    asking = begin(made)
    made.wait(lambda: len(recorder.acknowledged(made.lab.client())) > 25, "the client is answered")
    deed(made, disks)
    made.wait(lambda: both_up_to_date(made), "both have everything again", 90.0)
    acknowledged = end(made, asking)
    made.safekit(made.nodes[0], "module", "stop", "web", "--all")
    for node in made.nodes:
        assert acknowledged <= disks.numbers(node), node.name
    assert disks.files(made.nodes[0]) == disks.files(made.nodes[1])
