"""Who may be primary where a witness decides: never two, and a witness that is lost stops nothing by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit import engine
from safekit.engine.actions import AskWitness, Explain, FenceSelf, KillHost, RunPipeline
from safekit.engine.events import Command, HeartbeatHeard, WitnessAnswered

from .kit import ALONE, IDLE, INTERVAL_S, MODULE, NODES, PRIMARY, READY, Bench, second, spec, waiting
from .third import LEASE_S, WITNESS, Three


@pytest.fixture
def three() -> Three:
    made = Three()
    made.start()
    assert made.third.holder == "a"
    return made


def test_the_primary_has_the_lease_and_keeps_it(three: Three) -> None:
    epoch = three.third.epoch
    three.settle(3 * LEASE_S)
    assert (three.third.holder, three.third.epoch) == ("a", epoch)
    assert three.third.until_s > three["a"].now_s + 0.8 * LEASE_S


def test_while_all_is_well_nothing_changes_between_two_calls_to_the_witness(three: Three) -> None:
    """What changes is recorded; a heartbeat echoes nothing new while that is under way."""
    bench = three["a"]
    three.settle(1.0)
    while bench.m.right.call or bench.m.right.next_s < bench.now_s + 3 * INTERVAL_S:
        three.exchange()
    before = bench.node.modules
    three.exchange()
    three.exchange()
    assert bench.node.modules is before


def test_a_dead_primarys_lease_runs_out_and_then_the_other_takes_over(three: Three) -> None:
    three.off.add("a")
    three.settle(0.9 * LEASE_S)
    assert not three["b"].m.active
    three.settle(0.4 * LEASE_S)
    assert three.states()["b"] == ("ALONE", "Ready")
    assert three["b"].m.epoch > three["a"].m.epoch
    assert three.third.holder == "b"


def test_who_is_isolated_stops_before_the_other_takes_over(three: Three) -> None:
    three.parted.add("a")
    three.third.cut.add("a")
    three.settle(0.65 * LEASE_S)
    assert three.states()["a"][0] == "WAIT"
    assert not three["b"].m.active
    three.settle(LEASE_S)
    assert three.states()["b"] == ("ALONE", "Ready")
    assert "neither b nor the witness lets it run" not in three["b"].m.reason


def test_when_only_the_network_between_them_is_cut_the_primary_goes_on_and_the_other_gives_up(three: Three) -> None:
    three.parted.add("a")
    three.settle(3 * LEASE_S)
    assert three.states() == {"a": ("ALONE", "Ready"), "b": ("WAIT", "NotReady")}
    assert "a has the lease" in three["b"].m.reason
    three.parted.clear()
    three.settle()
    assert three.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_a_witness_that_is_lost_stops_nothing_while_both_hear_each_other(three: Three) -> None:
    three.third.cut |= {"a", "b"}
    three.settle(4 * LEASE_S)
    assert three.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    assert [a for a in three["a"].all if isinstance(a, Explain) and a.rule == "witness-lost" and a.severity == "alarm"]
    assert three["a"].m.values["splitbrain.lease"].value == "down"


def test_a_swap_needs_no_witness(three: Three) -> None:
    three.third.cut |= {"a", "b"}
    three.settle(2 * LEASE_S)
    three.command("a", Command.SWAP)
    three.settle()
    assert three.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}


def test_a_primary_that_has_lost_the_witness_and_then_its_peer_stops_before_the_peer_may_take_over(
    three: Three,
) -> None:
    """The witness gave the primary no lease for long, and would give it to the other at once."""
    three.third.cut.add("a")
    three.settle(2 * LEASE_S)
    three.parted.add("a")
    three.settle(2 * LEASE_S)
    assert three.states()["b"] == ("ALONE", "Ready")
    assert three.states()["a"][0] == "WAIT"


def test_a_stop_gives_the_lease_back_and_the_other_takes_over_at_once(three: Three) -> None:
    three.command("a", Command.STOP)
    three.settle(1.5)
    assert three.states()["b"] == ("ALONE", "Ready")
    assert three.third.holder == "b"


def test_a_stop_that_hangs_is_broken_off_and_then_the_node_is_reset(three: Three) -> None:
    bench = three["a"]
    three.parted.add("a")
    three.third.cut.add("a")
    three.part(0.3 * LEASE_S)
    for _ in range(round(0.6 * LEASE_S / INTERVAL_S)):
        bench.pass_time(INTERVAL_S)
    assert [a for a in bench.all if isinstance(a, RunPipeline) and a.force and a.cause == "wait"]
    assert [a for a in bench.all if isinstance(a, FenceSelf)]
    assert len([a for a in bench.all if isinstance(a, FenceSelf)]) == 1


def test_a_start_under_way_is_broken_off_when_the_right_ends() -> None:
    three = Three()
    for name in NODES:
        three.command(name, Command.START)
    while not three["a"].m.active:
        three.exchange(hosts=not three["a"].m.claim)
    bench = three["a"]
    for _ in range(round(LEASE_S / INTERVAL_S)):
        bench.pass_time(INTERVAL_S)
    assert [a for a in bench.all if isinstance(a, KillHost)]


def test_who_starts_alone_asks_the_witness_once_its_own_promises_have_ended() -> None:
    three = Three()
    three.off.add("b")
    three.command("a", Command.START)
    three.settle(0.9 * LEASE_S)
    assert three.states()["a"][0] == "WAIT"
    three.settle(0.3 * LEASE_S)
    assert three.states()["a"] == ("ALONE", "Ready")


def test_the_operator_may_answer_for_it_that_the_other_is_off() -> None:
    three = Three()
    three.off.add("b")
    three.third.cut.add("a")
    three.command("a", Command.START)
    three.settle(2 * LEASE_S)
    assert "the witness cannot be reached" in three["a"].m.reason
    assert "prim web --force" in three["a"].m.reason
    three.command("a", Command.PRIM)
    three.settle()
    assert three.states()["a"][0] == "WAIT"
    three.command("a", Command.PRIM, force=True)
    three.settle(4 * LEASE_S)
    assert three.states()["a"] == ("ALONE", "Ready")


def test_an_answer_for_the_peer_holds_until_the_peer_lets_it_run() -> None:
    """Its first heartbeats echo nothing yet."""
    three = Three()
    three.off.add("b")
    three.third.cut |= {"a", "b"}
    three.command("a", Command.START)
    three.settle(LEASE_S)
    three.command("a", Command.PRIM, force=True)
    three.settle(LEASE_S)
    assert three.states()["a"] == ("ALONE", "Ready")
    three.off.clear()
    three.command("b", Command.START)
    three.settle()
    assert three.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    assert not [action for action in three["a"].all if isinstance(action, FenceSelf)]


def test_a_promise_is_not_taken_back_by_a_report_that_is_missing(three: Three) -> None:
    three.third.cut |= {"a", "b"}
    three.settle(2 * LEASE_S)
    beat = three.beat("b")
    three.deliver(replace(beat, modules=()), to="a")
    three["a"].pass_time(INTERVAL_S)
    assert three["a"].m.state == "PRIM" or three["a"].m.run is not None
    assert not [action for action in three["a"].all if isinstance(action, (FenceSelf, KillHost))]


def test_of_two_that_run_the_one_with_the_newer_lease_goes_on(three: Three) -> None:
    """A suspended machine whose clock stood still does not know that it was away."""
    three.off.add("a")
    for _ in range(round(2 * LEASE_S / INTERVAL_S)):
        three["b"].pass_time(INTERVAL_S)
        three.host("b")
    paused = three["a"]
    assert paused.m.epoch < three["b"].m.epoch
    paused.tell(HeartbeatHeard("net1", three.beat("b")))
    assert paused.m.state == "WAIT"
    assert three["b"].m.took_over


def test_a_peer_that_is_deaf_and_runs_nothing_is_taken_over_from_by_the_lease() -> None:
    bench = second(spec=spec(witness=WITNESS))
    bench.peer_hears_us = False
    bench.hear(IDLE)
    bench.pass_time(LEASE_S - 1.0)
    assert not any(isinstance(action, AskWitness) and action.call == "acquire" for action in bench.all)
    bench.pass_time(3.0)
    assert bench.m.right.call == "acquire"
    bench.tell(WitnessAnswered(MODULE, bench.m.right.number, True, True, 50, LEASE_S))
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_a_peer_that_is_deaf_and_claims_the_role_is_left_alone() -> None:
    bench = second(spec=spec(witness=WITNESS))
    bench.peer_hears_us = False
    bench.hear(replace(IDLE, claim=7))
    bench.pass_time(2 * LEASE_S)
    assert not any(isinstance(action, AskWitness) and action.call == "acquire" for action in bench.all)


def test_a_forced_stop_that_hangs_is_ended_with_all_processes_of_the_module(three: Three) -> None:
    bench = three["a"]
    three.parted.add("a")
    three.third.cut.add("a")
    while bench.m.run is None or not bench.m.run.force:
        three.exchange(hosts=bench.m.run is not None)
    while not (kills := [action for action in bench.all if isinstance(action, KillHost)]):
        three.exchange(hosts=False)
    assert kills[0].everything


def test_an_answer_for_the_peer_outlives_its_boot_before_it_has_made_sure_that_nothing_runs() -> None:
    """Seed 103428: its first heartbeat still says that something of the primary may run there."""
    bench = _primary_by_force()
    bench.hear(replace(IDLE, active=True))
    bench.pass_time(INTERVAL_S)
    assert bench.m.right.by_force
    assert bench.shown == (ALONE, READY)
    bench.hear(PRIMARY)
    assert not bench.m.right.by_force


def test_a_right_that_is_found_ended_leaves_time_for_the_stop_before_the_watchdog_bites() -> None:
    bench = _primary_by_force()
    bench.hear(PRIMARY)
    ((_, ends),) = engine.rights(bench.node)
    assert ends.stop_s < bench.now_s < ends.fence_s


def _primary_by_force() -> Bench:
    bench = waiting(spec=spec(witness=WITNESS))
    bench.pass_time(LEASE_S)
    bench.command(Command.PRIM, force=True)
    bench.run_all()
    assert bench.shown == (ALONE, READY)
    return bench
