"""What is said of a module that does not run, runs twice, or could not be taken over."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.diagnosis.facts import AlarmFacts, FarmFacts, PeerFacts, TroubleFacts

from .kit import LEASE, PRIMARY, SECONDARY, SERVER, changed, cluster, found, mirror, node, only

WAITS = {"state": "WAIT", "readiness": "NotReady", "reason": "b cannot be heard", "active": False}
STOPPED = {"state": "STOP", "readiness": "NotReady", "reason": "stopped: asked for", "active": False, "desired": False}


def test_two_primaries_are_the_first_thing_told() -> None:
    facts = mirror(PRIMARY, changed(PRIMARY, state="ALONE", failover=False))
    first = next(iter(found(facts).values()))
    assert (first.name, first.severity, first.nodes) == ("runs-twice", "alarm", ("a", "b"))


ALONE = changed(PRIMARY, state="ALONE", witness=None, isolation="availability")


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, True),
        ({"isolation": "safety"}, False),
        ({"has_fence": True}, False),
        ({"witness": LEASE}, False),
        ({"witness": changed(LEASE, exclusive=False)}, True),
        ({**WAITS}, False),
    ],
)
def test_a_node_that_is_neither_heard_nor_answers_may_run_it_too(changes: dict[str, Any], is_told: bool) -> None:
    lost = PeerFacts(node="b", alive=False)
    facts = cluster(node("a", changed(ALONE, **changes), peers=(lost,)), silent=("b",))
    assert ("may-run-twice" in found(facts)) is is_told


def test_one_whose_heartbeats_are_heard_does_not_run_it_too() -> None:
    assert "may-run-twice" not in found(cluster(node("a", ALONE), silent=("b",)))


def test_a_module_that_is_started_and_runs_nowhere_is_an_alarm_with_each_nodes_reason() -> None:
    finding = only(mirror(changed(PRIMARY, **WAITS), changed(SECONDARY, **WAITS)))
    assert (finding.name, finding.severity) == ("runs-nowhere", "alarm")
    assert "a: WAIT NotReady: b cannot be heard" in finding.what


def test_one_that_is_on_its_way_is_a_warning() -> None:
    starting = changed(PRIMARY, readiness="Transient", reason="starting")
    assert found(mirror(starting, changed(SECONDARY, **WAITS)))["runs-nowhere"].severity == "warning"


def test_a_module_that_is_stopped_everywhere_is_a_note() -> None:
    finding = only(mirror(changed(PRIMARY, **STOPPED), changed(SECONDARY, **STOPPED)))
    assert (finding.name, finding.severity, finding.mend) == ("stopped", "note", "`safekit module start web --all`")


def test_a_secondary_that_is_stopped_is_to_be_started_and_one_that_waits_to_be_explained() -> None:
    stopped = only(mirror(secondary=changed(SECONDARY, **STOPPED)))
    assert (stopped.name, stopped.where, stopped.mend) == (
        "no-standby",
        "web on b",
        "`safekit module start web --on b`",
    )
    waiting = only(mirror(secondary=changed(SECONDARY, **WAITS)))
    assert waiting.mend.startswith("`safekit why web --on b`")


def test_a_secondary_without_all_writes_is_told_as_that() -> None:
    finding = only(mirror(secondary=changed(SECONDARY, up_to_date=False, state="WAIT", readiness="NotReady")))
    assert (finding.name, finding.severity, finding.nodes) == ("not-up-to-date", "warning", ("b",))


def test_writes_that_wait_are_an_alarm() -> None:
    finding = only(mirror(changed(PRIMARY, holding=True)))
    assert (finding.name, finding.severity, finding.where) == ("writes-held", "alarm", "web on a")


def test_failover_that_is_off_is_one_finding_for_all_nodes() -> None:
    finding = only(mirror(changed(PRIMARY, failover=False), changed(SECONDARY, failover=False)))
    assert (finding.name, finding.nodes) == ("failover-off", ("a", "b"))


@pytest.mark.parametrize(
    ("changes", "name", "severity"),
    [
        ({"loops": 4, **STOPPED}, "gave-up", "alarm"),
        ({"loops": 3}, "restarts-used-up", "warning"),
    ],
)
def test_restarts_count_against_max_loops(changes: dict[str, Any], name: str, severity: str) -> None:
    finding = only(mirror(secondary=changed(SECONDARY, **changes)))
    assert (finding.name, finding.severity) == (name, severity)


def test_a_module_that_gave_up_everywhere_is_not_called_stopped_by_an_operator() -> None:
    gone = changed(PRIMARY, **STOPPED, loops=4)
    assert list(found(mirror(gone, gone))) == ["gave-up"]


def test_what_does_not_stop_is_an_alarm() -> None:
    facts = mirror(changed(PRIMARY, **{**WAITS, "active": True}), changed(SECONDARY, **WAITS))
    assert found(facts)["stuck"].where == "web on a"


def test_a_checker_that_says_down_is_told_with_its_evidence() -> None:
    trouble = TroubleFacts(resource="tcp.database", value="down", reason="connection refused")
    finding = only(mirror(changed(PRIMARY, troubles=(trouble,))))
    assert finding.what == "tcp.database is down: connection refused"


def test_a_mirror_of_one_node_has_no_other() -> None:
    assert found(cluster(node("a", changed(PRIMARY, nodes=("a",)))))["one-node"].severity == "warning"


def test_a_farm_with_one_server_left_says_so_and_why_the_other_is_none() -> None:
    off = FarmFacts(serving=False, weight=100, unowned=0)
    facts = cluster(node("a", SERVER), node("b", changed(SERVER, **WAITS, farm=off)))
    assert {name: finding.severity for name, finding in found(facts).items()} == {
        "not-running": "warning",
        "one-server": "warning",
    }


def test_a_light_module_has_nobody_who_stands_in() -> None:
    light = changed(PRIMARY, kind="light", state="UP", witness=None)
    assert only(cluster(node("a", light), node("b", changed(light, **WAITS)))).severity == "alarm"


def test_a_drained_node_is_a_note_and_clients_of_nobody_are_a_warning() -> None:
    drained = changed(SERVER, farm=FarmFacts(serving=True, weight=0, unowned=0))
    lost = changed(SERVER, farm=FarmFacts(serving=True, weight=100, unowned=5))
    told = found(cluster(node("a", lost), node("b", drained)))
    assert {name: finding.where for name, finding in told.items()} == {
        "buckets-unowned": "web on a",
        "drained": "web on b",
    }


def test_alarms_of_the_last_day_are_one_finding_for_a_module_on_a_node() -> None:
    alarms = (
        AlarmFacts(module="web", text="the host was lost", count=2, last_s=7200.0),
        AlarmFacts(module="web", text="it stops by force", count=1, last_s=60.0),
    )
    finding = only(cluster(node("a", PRIMARY, alarms=alarms), node("b", SECONDARY)))
    assert finding.what == "3 alarms within a day, the last 60.0 s ago: it stops by force"
    assert finding.severity == "warning"
