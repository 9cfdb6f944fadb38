"""A highly available Apache under what happens to machines and programs."""

from __future__ import annotations

import pytest
from lab_cluster import VIP, Cluster

from safekit_lab.node import Node

pytestmark = pytest.mark.system


def roles(made: Cluster) -> tuple[Node, Node]:
    """Primary and secondary, once all is well."""
    made.wait(made.is_well, "one is primary, one secondary")
    primary, secondary = made.primary(), made.secondary()
    assert primary is not None
    assert secondary is not None
    return primary, secondary


def page(made: Cluster) -> str:
    """What the client reads at the virtual address."""
    client = made.lab.clients[0]
    return client.run(["curl", "-sS", "--max-time", "5", f"http://{VIP}/"], check=False).stdout.strip()


def why(made: Cluster, node: Node) -> str:
    return made.safekit(node, "why", "web").stdout


def test_the_client_reads_from_the_primary(mirror: Cluster) -> None:
    primary, _ = roles(mirror)
    assert page(mirror) == primary.name


def test_a_crashed_primary_is_followed_and_comes_back_as_secondary(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    with mirror.lab.probe(f"http://{VIP}/") as probe:
        mirror.follow_crash(primary, secondary)
        mirror.wait(lambda: page(mirror) == secondary.name, "the client reads from the survivor")
    summary = probe.result().summary
    assert set(summary.servers) == {primary.name, secondary.name}
    assert len(summary.outages) == 1
    assert primary.name in why(mirror, secondary)
    primary.boot()
    mirror.safekit(primary, "daemon", "start")
    mirror.wait_state(primary, "web", "SECOND/Ready")
    assert mirror.primary() is secondary


def test_dead_apache_is_started_again_in_place(mirror: Cluster) -> None:
    primary, _ = roles(mirror)
    mirror.kill_apache(primary)
    assert page(mirror) == primary.name
    assert "apache" in why(mirror, primary)


def test_a_swap_moves_the_address_and_apache_and_nobody_waits_for_long(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    mirror.swap(secondary)
    assert page(mirror) == secondary.name
    mirror.wait_state(primary, "web", "SECOND/Ready")
    assert VIP not in primary.run(["ip", "address"]).stdout
    assert primary.run(["pgrep", "-x", "apache2"], check=False).stdout == ""


def test_a_frozen_primary_finds_itself_replaced_and_stops(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    primary.freeze(deep=True)
    mirror.wait_state(secondary, "web", "ALONE/Ready")
    primary.thaw()
    mirror.wait_state(primary, "web", "SECOND/Ready")
    assert mirror.primary() is secondary
    assert VIP not in primary.run(["ip", "address"]).stdout
    assert page(mirror) == secondary.name


def test_after_a_cut_cable_one_of_two_primaries_stops(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    primary.cut()
    mirror.wait_state(secondary, "web", "ALONE/Ready")
    primary.heal()
    roles(mirror)
    log = mirror.safekit(primary, "log", "web").stdout + mirror.safekit(secondary, "log", "web").stdout
    assert "both nodes ran the module" in log


def test_a_killed_daemon_leaves_nothing_running_unwatched_and_is_taken_up_again(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    pid = primary.run(["cat", "/run/safekit/safekitd.lock"]).stdout.strip()
    primary.run(["kill", "-9", pid])
    mirror.wait_state(secondary, "web", "ALONE/Ready")
    mirror.wait(lambda: VIP not in primary.run(["ip", "address"]).stdout, "the orphaned host gives the address up")
    mirror.wait(lambda: not primary.run(["pgrep", "-x", "apache2"], check=False).stdout, "and stops Apache")
    mirror.safekit(primary, "daemon", "start")
    mirror.wait_state(primary, "web", "SECOND/Ready")


def test_a_killed_host_is_replaced_and_its_module_started_again(mirror: Cluster) -> None:
    primary, _ = roles(mirror)
    before = mirror.looped(primary)
    primary.run(["kill", "-9", *primary.run(["pgrep", "-f", "safekit[.]host web"]).stdout.split()])
    mirror.wait(lambda: mirror.looped(primary) > before or mirror.primary() is not primary, "the loss is seen")
    roles(mirror)
    assert page(mirror) in {node.name for node in mirror.nodes}


def test_a_daemon_that_ends_hands_over_and_starts_again_as_secondary(mirror: Cluster) -> None:
    primary, secondary = roles(mirror)
    mirror.safekit(primary, "daemon", "stop")
    mirror.wait_state(secondary, "web", "ALONE/Ready")
    assert primary.run(["pgrep", "-x", "apache2"], check=False).stdout == ""
    mirror.safekit(primary, "daemon", "start")
    mirror.wait_state(primary, "web", "SECOND/Ready")


def test_after_a_power_cut_of_both_they_resume_without_an_operator(mirror: Cluster) -> None:
    roles(mirror)
    for node in mirror.nodes:
        node.crash()
    for node in mirror.nodes:
        node.boot()
        mirror.safekit(node, "daemon", "start")
    primary, _ = roles(mirror)
    assert page(mirror) == primary.name


def test_stop_leaves_nothing_behind_and_remove_forgets_the_module(mirror: Cluster) -> None:
    first = mirror.nodes[0]
    mirror.safekit(first, "module", "stop", "web", "--all")
    mirror.safekit(first, "module", "wait", "web", "STOP", "--all")
    for node in mirror.nodes:
        assert VIP not in node.run(["ip", "address"]).stdout
        assert node.run(["pgrep", "-x", "apache2"], check=False).stdout == ""
    mirror.safekit(first, "module", "remove", "web")
    for node in mirror.nodes:
        assert mirror.module_state(node, "web") == ""
        assert node.run(["pgrep", "-f", "safekit[.]host"], check=False).stdout == ""
