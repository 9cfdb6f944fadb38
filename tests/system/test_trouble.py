"""Disks that are full, addresses that are taken, interfaces that are not there."""

from __future__ import annotations

import lab_cluster
import pytest
from lab_cluster import VIP, Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system


def alarms(made: Cluster, node: Node) -> str:
    return " ".join(made.statuses(node)[node.name]["result"]["alarms"])


def test_a_full_disk_is_an_alarm_stops_nothing_and_starts_nothing(mirror: Cluster) -> None:
    primary, secondary = mirror.primary(), mirror.secondary()
    assert primary is not None
    assert secondary is not None
    primary.fill_disk()
    mirror.safekit(primary, "module", "restart", "web")
    mirror.wait(lambda: "full" in alarms(mirror, primary), "an alarm")
    assert mirror.all_hear_each_other()
    primary.free_disk()
    mirror.wait(lambda: "cannot" not in alarms(mirror, primary), "the alarm ends when there is space")
    mirror.wait(mirror.is_well, "all is well")


def test_a_daemon_does_not_start_on_a_full_disk_and_says_so(pair: Cluster) -> None:
    first = pair.nodes[0]
    pair.safekit(first, "daemon", "stop")
    first.fill_disk()
    done = pair.safekit(first, "daemon", "start", ok=False)
    assert done.returncode != 0
    assert "space" in done.stderr
    assert "Traceback" not in done.stderr
    first.free_disk()
    pair.safekit(first, "daemon", "start")


def test_a_node_that_has_lost_its_memory_is_heard_again(pair: Cluster) -> None:
    first, second = pair.nodes
    pair.safekit(second, "daemon", "stop")
    for lost in ("facts.db", "facts.db-wal", "facts.db-shm"):
        second.run(["rm", "-f", f"/var/lib/safekit/{lost}"])
    pair.safekit(second, "daemon", "start")
    pair.wait(pair.all_hear_each_other, "they hear each other")
    assert "is heard on" in pair.safekit(first, "log").stdout


def add_mirror(made: Cluster, vip: str, ok: bool = True) -> str:
    lab_cluster.home_pages(made)
    words = ("module", "add", "web", "--app", "apache", "--kind", "mirror", "--vip", vip)
    return made.safekit(made.nodes[0], *words, ok=ok).stderr


def test_an_address_that_another_machine_has_is_not_taken(pair: Cluster) -> None:
    client, first = pair.lab.clients[0], pair.nodes[0]
    client.run(["ip", "address", "add", f"{VIP}/24", "dev", "eth0"])
    add_mirror(pair, f"{VIP}/24")
    told = pair.safekit(first, "module", "start", "web", ok=False)
    assert told.returncode != 0
    assert "another machine" in told.stdout
    assert VIP not in first.run(["ip", "address"]).stdout
    client.run(["ip", "address", "delete", f"{VIP}/24", "dev", "eth0"])
    pair.safekit(first, "module", "stop", "web", "--all")
    pair.safekit(first, "module", "start", "web", "--all")
    pair.wait(lambda: pair.primary() is not None, "it is taken once it is free")


def test_an_address_of_no_network_and_an_interface_that_is_not_there_are_told_before_anything_runs(
    pair: Cluster,
) -> None:
    first = pair.nodes[0]
    add_mirror(pair, "192.0.2.7/24", ok=False)
    warned = pair.safekit(first, "plan", "web", ok=False)
    assert "192.0.2" in warned.stdout + warned.stderr
    assert "eth0" in warned.stdout + warned.stderr
