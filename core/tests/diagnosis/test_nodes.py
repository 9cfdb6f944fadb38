"""What is said of nodes: silent, of another mind, short of something, badly heard."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.diagnosis.facts import (
    CertificateFacts,
    ClockFacts,
    DaemonTrouble,
    FileTrouble,
    NodeAnswer,
    PeerFacts,
    ProcessFacts,
)

from .kit import DISK, MACHINE, PRIMARY, SECONDARY, changed, cluster, found, node, only

NEAR = {"lan": 0.05, "back": 0.05}


def beside(**changes: Any) -> Any:
    """A cluster that is well but for this on node b."""
    return cluster(node("a", PRIMARY), node("b", SECONDARY, **changes))


def machine(**changes: Any) -> Any:
    return beside(machine=changed(MACHINE, **changes))


def hearing(**changes: Any) -> Any:
    return beside(peers=(changed(PeerFacts(node="a", alive=True, silent_s=NEAR), **changes),))


def test_a_node_that_does_not_answer_is_an_alarm_and_is_listed_as_not_looked_at() -> None:
    peer = PeerFacts(node="b", alive=False)
    facts = cluster(node("a", changed(PRIMARY, state="ALONE"), peers=(peer,)), silent=("b",))
    finding = only(facts)
    assert (finding.name, finding.severity, finding.nodes) == ("node-unreachable", "alarm", ("b",))
    assert "`safekit doctor`" in finding.mend


def test_one_whose_heartbeats_are_heard_is_told_apart_from_a_dead_one() -> None:
    facts = cluster(node("a", changed(PRIMARY, state="ALONE")), silent=("b",))
    assert only(facts).why.startswith("its heartbeats are heard")


def test_nodes_that_both_answer_and_do_not_hear_each_other() -> None:
    assert only(hearing(alive=False)).what == "b does not hear a"
    assert only(hearing(hears_us=False)).what == "a says that it does not hear b"


def test_a_network_that_is_silent_while_another_is_not() -> None:
    finding = only(hearing(silent_s={"lan": 0.05, "back": 90.0}))
    assert finding.what == "the network 'back' is silent: b has not heard a on it for 90.0 s"
    assert finding.nodes == ("b",)
    assert "since it started" in only(hearing(silent_s={"lan": 0.05})).what


def crowd(size: int, **changes: Any) -> Any:
    """So many nodes, each of which hears all others in the same way."""
    names = [f"n{number}" for number in range(size)]
    peers = {name: changed(PeerFacts(node=name, alive=True, silent_s=NEAR), **changes) for name in names}
    others = {name: tuple(peer for other, peer in peers.items() if other != name) for name in names}
    return cluster(*(changed(node("a"), node=name, peers=others[name]) for name in names))


@pytest.mark.parametrize(
    "changes", [{"silent_s": {"lan": 0.05, "back": 90.0}}, {"longest_gap_s": 0.6}], ids=["network", "pauses"]
)
def test_what_all_of_many_nodes_see_is_one_finding(changes: dict[str, Any]) -> None:
    finding = only(crowd(20, **changes))
    assert len(finding.nodes) == 20
    assert finding.where == "n0, n1, n2, n3, n4 and 15 more"


def test_one_network_for_all_and_one_node_on_one_network() -> None:
    one = {"networks": ("lan",)}
    assert only(cluster(node("a", PRIMARY, **one), node("b", SECONDARY, **one))).name == "single-network"
    finding = only(beside(networks=("lan",)))
    assert (finding.name, finding.nodes) == ("node-on-one-network", ("b",))


def test_one_node_alone_needs_no_second_network() -> None:
    assert "single-network" not in found(cluster(node("a", networks=("lan",), peers=())))


@pytest.mark.parametrize(("gap_s", "severity"), [(0.33, None), (0.4, "note"), (0.6, "warning")])
def test_a_loss_time_is_held_against_the_pauses_that_were_measured(gap_s: float, severity: str | None) -> None:
    told = found(hearing(longest_gap_s=gap_s))
    assert {one.severity for one in told.values()} == ({severity} if severity else set())


def test_the_advised_loss_time_is_three_times_the_pause() -> None:
    pausing = PeerFacts(node="a", alive=True, silent_s=NEAR, longest_gap_s=0.25)
    assert "lost_after: 2s" in only(hearing(longest_gap_s=0.6)).mend
    assert "lost_after: 800ms" in only(beside(peers=(pausing,), lost_after_s=0.5)).mend


def test_a_loss_time_below_half_a_second_is_hasty() -> None:
    module = {"lost_after_s": 0.25}
    facts = cluster(node("a", changed(PRIMARY, **module)), node("b", changed(SECONDARY, **module)))
    assert only(facts).what == "heartbeat.lost_after is 250 ms"


def test_losses_that_were_none() -> None:
    assert "not been restarted: a 3 times" in only(hearing(losses=3)).what


def test_versions_plugins_and_configurations_that_differ() -> None:
    other = ProcessFacts(pid=8, version="1.1")
    told = found(beside(process=other, machine=changed(MACHINE, version="1.1")))
    assert told["versions-differ"].what.endswith("1.0 on a, 1.1 on b")
    assert found(machine(version="1.1"))["restart-pending"].nodes == ("b",)
    revision = found(beside(revision=2))["cluster-file-differs"]
    assert revision.what.endswith("3 on a, 2 on b")
    signatures = found(cluster(node("a", PRIMARY), node("b", changed(SECONDARY, signature="2.bb"))))
    assert signatures["configuration-differs"].what.endswith("1.aa on a, 2.bb on b")


def test_a_node_that_lacks_the_configuration_of_its_module() -> None:
    told = found(cluster(node("a", changed(PRIMARY, state="ALONE")), node("b")))
    assert told["configuration-differs"].what.endswith("1.aa on a, none on b")
    broken = found(cluster(node("a", changed(PRIMARY, state="ALONE")), node("b", broken=("web",))))
    assert list(broken) == ["configuration-unusable"]


def test_a_plugin_weighs_where_a_module_uses_it() -> None:
    used = only(machine(plugins={"safekit.resources vip": "safekit-resource-vip 0.9"}))
    assert (used.severity, used.what) == ("warning", "the package safekit-resource-vip differs: 1.0 on a, 0.9 on b")
    extra = only(machine(plugins={**MACHINE.plugins, "safekit.checkers tcp": "safekit-checker-tcp 1.0"}))
    assert (extra.severity, extra.what) == ("note", "the package safekit-checker-tcp differs: missing on a, 1.0 on b")


def test_a_package_with_several_plugins_is_told_once() -> None:
    many = {f"safekit.commands {name}": "safekit-lab 1.0" for name in ("lab", "probe")}
    assert only(machine(plugins={**MACHINE.plugins, **many})).severity == "note"


def test_edits_that_are_not_applied_are_a_note() -> None:
    facts = cluster(node("a", changed(PRIMARY, edited=True)), node("b", SECONDARY))
    assert (only(facts).severity, only(facts).where) == ("note", "web on a")


@pytest.mark.parametrize(
    ("ahead_s", "error_s", "is_told"), [(0.5, 0.0, False), (3.0, 0.1, True), (-3.0, 0.1, True), (3.0, 2.5, False)]
)
def test_clocks_differ_when_the_round_trip_does_not_explain_it(ahead_s: float, error_s: float, is_told: bool) -> None:
    facts = beside()
    clock = ClockFacts(ahead_s=ahead_s, error_s=error_s)
    skewed = changed(facts, nodes=(facts.nodes[0], NodeAnswer(node="b", facts=facts.nodes[1].facts, clock=clock)))
    told = found(skewed)
    assert ("clocks-differ" in told) is is_told
    if is_told:
        assert ("ahead of" if ahead_s > 0 else "behind") in told["clocks-differ"].what


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"free_bytes": 9 << 30}, None),
        ({"free_bytes": 1 << 30}, "warning"),
        ({"total_bytes": 8 << 30, "free_bytes": 1 << 30}, None),
        ({"total_bytes": 1 << 30, "free_bytes": 50 << 20}, "warning"),
        ({"free_bytes": 0}, "alarm"),
        ({"files_free": 5}, "warning"),
        ({"files": 0, "files_free": 0}, None),
        ({"read_only": True}, "alarm"),
    ],
)
def test_disks(changes: dict[str, Any], severity: str | None) -> None:
    told = found(machine(disks=(changed(DISK, **changes),)))
    assert {one.severity for one in told.values()} == ({severity} if severity else set())


def test_a_disk_that_is_nearly_full_is_told_in_percent_and_bytes() -> None:
    assert only(machine(disks=(changed(DISK, free_bytes=1 << 30),))).what == (
        "the disk of /var/lib/safekit is 99 % full: 1.0 GiB are free"
    )


def test_what_was_not_granted_and_what_was_not_wanted() -> None:
    refused = found(beside(process=ProcessFacts(pid=7, version="1.0", realtime=False, locked=False)))
    assert {name: one.severity for name, one in refused.items()} == {
        "no-realtime": "warning",
        "memory-not-locked": "warning",
    }
    unwanted = ProcessFacts(pid=7, version="1.0", realtime_wanted=False, realtime=False, locked=False)
    assert only(beside(process=unwanted)).severity == "note"


def test_the_daemons_own_alarms_and_disks_that_fail_are_told() -> None:
    assert only(beside(process=ProcessFacts(pid=7, version="1.0", alarms=("no room",)))).severity == "alarm"
    assert only(beside(unread=("history",))).name == "disk-fails"


@pytest.mark.parametrize(("left_s", "severity"), [(-86400.0, "alarm"), (86400.0, "warning"), (40 * 86400.0, None)])
def test_certificates_end(left_s: float, severity: str | None) -> None:
    certificate = CertificateFacts(path="/etc/tls/a.pem", module="web", expires=1_000_000.0 + left_s)
    told = found(machine(certificates=(certificate,)))
    assert {one.severity for one in told.values()} == ({severity} if severity else set())


def test_what_plugins_say_that_the_machine_lacks() -> None:
    finding = only(machine(lacks={"web": ("apache: Apache is not installed",)}))
    assert (finding.severity, finding.where) == ("warning", "web on b")


def alone(**changes: Any) -> Any:
    trouble = DaemonTrouble(log="/var/log/safekit/safekitd.log", machine=changes.pop("machine", MACHINE), **changes)
    return changed(cluster(), daemon=trouble)


def test_a_daemon_that_does_not_run_is_told_with_how_it_ended() -> None:
    assert "it was killed or crashed" in only(alone(stopped_in_order=False)).what
    assert "it was ended in order" in only(alone(stopped_in_order=True)).what
    assert "no room" in only(alone(last_words="safekitd: no room")).what


def test_a_daemon_that_stands_still_is_told_with_its_state() -> None:
    finding = only(alone(pid=77, process_state="stopped"))
    assert "process 77, in state 'stopped'" in finding.what
    assert "kill -CONT 77" in finding.mend


def test_files_come_before_a_start_of_the_daemon() -> None:
    told = found(alone(machine=changed(MACHINE, files=(FileTrouble(trouble="the key is open to others"),))))
    assert list(told) == ["daemon-down", "own-file"]
    assert told["daemon-down"].mend.startswith("first what is said of its files")
