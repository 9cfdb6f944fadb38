"""Whether two may run, or none: what is said of witnesses, isolation, fencing and margins."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.diagnosis.facts import PeerFacts

from .kit import LEASE, MACHINE, PRIMARY, SECONDARY, SERVER, changed, cluster, found, mirror, node, on_both, only

PING = changed(LEASE, plugin="ping", resource="splitbrain.router", exclusive=False)


def test_a_mirror_with_a_witness_a_watchdog_and_two_networks_has_nothing() -> None:
    assert found(mirror()) == {}


def test_safety_without_a_witness_takes_nothing_over() -> None:
    finding = found(on_both(witness=None))["no-witness-safety"]
    assert finding.severity == "warning"
    assert "nothing takes over" in finding.why
    assert "isolation: availability" in finding.mend


def test_availability_without_a_witness_runs_both() -> None:
    finding = found(on_both(witness=None, isolation="availability"))["no-witness-availability"]
    assert finding.severity == "warning"
    assert "both run the module" in finding.why


def test_neither_witness_nor_fence_is_a_note_beside_it() -> None:
    assert found(on_both(witness=None))["no-fence"].severity == "note"
    assert "no-fence" not in found(on_both(witness=None, has_fence=True))
    assert "no-fence" not in found(mirror())


@pytest.mark.parametrize("isolation", ["safety", "availability"])
def test_with_a_fence_device_no_isolation_is_a_risk(isolation: str) -> None:
    assert only(on_both(witness=None, isolation=isolation, has_fence=True)).severity == "note"


def test_a_witness_that_does_not_exclude_two_says_so() -> None:
    finding = found(on_both(witness=PING))["witness-not-exclusive"]
    assert (finding.severity, finding.nodes) == ("warning", ())
    assert "'ping' does not exclude two" in finding.what
    assert found(on_both(witness=PING, has_fence=True))["witness-not-exclusive"].severity == "note"


def test_a_farm_needs_no_witness() -> None:
    assert found(cluster(node("a", SERVER), node("b", SERVER))) == {}


def test_an_unreachable_witness_names_the_node_that_does_not_reach_it() -> None:
    down = changed(LEASE, value="down", reason="no answer from 10.0.0.9")
    finding = only(mirror(secondary=changed(SECONDARY, witness=down)))
    assert (finding.severity, finding.name, finding.where) == ("alarm", "witness-unreachable", "web on b")
    assert "10.0.0.9" in finding.what


def test_a_witness_that_was_not_asked_yet_is_no_finding() -> None:
    assert found(on_both(witness=changed(LEASE, value=""))) == {}


def machines(**changes: Any) -> dict[str, Any]:
    machine = changed(MACHINE, **changes)
    return found(cluster(node("a", PRIMARY, machine=machine), node("b", SECONDARY, machine=machine)))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {}),
        ({"watchdog_present": False}, {"no-self-fence": "warning"}),
        ({"watchdog": "off"}, {"no-self-fence": "warning"}),
        ({"watchdog_present": False, "self_fence": "reboot"}, {"no-watchdog": "note"}),
        (
            {"watchdog_present": False, "watchdog": "required"},
            {"watchdog-missing": "alarm", "no-self-fence": "warning"},
        ),
        ({"self_fence": "reboot", "sysrq_writable": False}, {"self-fence-impossible": "alarm"}),
    ],
)
def test_who_ends_what_does_not_stop(changes: dict[str, Any], names: dict[str, str]) -> None:
    assert {name: finding.severity for name, finding in machines(**changes).items()} == names


def test_without_a_last_resort_it_says_how_long_a_forced_stop_has() -> None:
    finding = machines(watchdog="off")["no-self-fence"]
    assert finding.nodes == ("a", "b")
    assert "2.0 s" in finding.why
    assert "SAFEKIT_SELF_FENCE=reboot" in finding.mend


def test_a_node_that_no_exclusive_witness_decides_on_needs_no_last_resort() -> None:
    bare = changed(MACHINE, watchdog="off")
    alone = changed(PRIMARY, witness=None)
    assert "no-self-fence" not in found(cluster(node("a", alone, machine=bare), node("b", alone, machine=bare)))


@pytest.mark.parametrize(("timeout_s", "is_told"), [(1.0, False), (1.9, False), (2.1, True)])
def test_two_calls_that_time_out_must_fit_into_half_a_lease(timeout_s: float, is_told: bool) -> None:
    told = found(on_both(witness=changed(LEASE, timeout_s=timeout_s)))
    assert ("lease-short-for-timeout" in told) is is_told


def test_pauses_of_a_quarter_of_a_lease_are_too_long_for_it() -> None:
    peer = PeerFacts(node="b", alive=True, silent_s={"lan": 0.0, "back": 0.0}, longest_gap_s=2.6)
    facts = cluster(node("a", PRIMARY, peers=(peer,), lost_after_s=20.0), node("b", SECONDARY))
    assert only(facts).mend.startswith("`lease: 21s`")
