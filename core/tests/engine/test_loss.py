"""The other node is silent: what each policy does, and what a node that slept itself does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from safekit.engine.actions import Explain
from safekit.engine.events import Command, StorageFailed, ValueSet
from safekit.engine.module import LEAP
from safekit.engine.spec import IsolationPolicy

from .kit import (
    ALONE,
    AVAILABILITY,
    IDLE,
    MODULE,
    NOT_READY,
    PRIM,
    PRIMARY,
    READY,
    SECOND,
    SECONDARY,
    STOP,
    TRANSIENT,
    WAIT,
    WAITING,
    Bench,
    alone,
    only,
    prim,
    second,
    spec,
    waiting,
)
from .pair import Pair

WITH_DATA = spec(isolation=IsolationPolicy.AVAILABILITY, has_data=True)


def lose_peer(bench: Bench, seconds: float = 1.2) -> None:
    bench.silence()
    bench.pass_time(seconds)


def test_a_secondary_under_safety_stops_and_waits() -> None:
    bench = second()
    lose_peer(bench)
    assert bench.shown == (WAIT, TRANSIENT)
    bench.run_all()
    bench.pass_time(20.0)
    assert bench.shown == (WAIT, NOT_READY)
    assert not bench.report.active
    assert "safekit module prim" in bench.m.reason


def test_a_secondary_under_availability_takes_over() -> None:
    bench = second(spec=AVAILABILITY)
    lose_peer(bench)
    bench.run_all()
    assert bench.shown == (ALONE, READY)
    assert bench.report.took_over
    assert bench.m.epoch == 1 + LEAP


def test_a_takeover_says_for_how_long_the_primary_was_silent_and_what_would_have_prevented_it() -> None:
    bench = second(spec=AVAILABILITY)
    lose_peer(bench)
    said = next(said for said in bench.all if getattr(said, "rule", "") == "takeover")
    assert 1.0 <= float(said.facts["silent for"].split()[0]) <= 1.2  # type: ignore[union-attr]
    assert said.considered and said.prevent  # type: ignore[union-attr]


def test_nothing_happens_before_the_loss_time() -> None:
    bench = second(spec=AVAILABILITY)
    lose_peer(bench, 0.9)
    assert bench.shown == (SECOND, READY)


def test_one_network_of_two_is_enough() -> None:
    bench = second(spec=AVAILABILITY)
    for _ in range(30):
        bench.now_s += 0.1
        bench.hear(bench.peer, network="net2")
    assert bench.shown == (SECOND, READY)


def test_a_primary_that_loses_its_secondary_goes_on() -> None:
    bench = prim()
    lose_peer(bench)
    bench.run_all()
    assert bench.shown == (ALONE, READY)
    assert bench.report.active


def test_an_alone_that_loses_its_peer_goes_on_without_a_word_of_the_module() -> None:
    bench = alone()
    orders = len(bench.orders())
    lose_peer(bench, 5.0)
    assert bench.shown == (ALONE, READY)
    assert len(bench.orders()) == orders


@pytest.mark.parametrize("policy", list(IsolationPolicy))
def test_failover_off_waits_under_every_policy(policy: IsolationPolicy) -> None:
    bench = second(spec=spec(isolation=policy))
    bench.command(Command.FAILOVER_OFF)
    lose_peer(bench)
    bench.run_all()
    bench.pass_time(10.0)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_secondary_that_lacks_data_does_not_take_over() -> None:
    bench = second(spec=WITH_DATA)
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "down"))
    lose_peer(bench)
    bench.run_all()
    bench.pass_time(10.0)
    assert not bench.report.active
    assert bench.shown == (WAIT, NOT_READY)
    assert "data" in bench.m.reason


def test_a_secondary_that_lacks_data_does_not_claim_when_its_primary_stopped() -> None:
    bench = second(spec=WITH_DATA)
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "down"))
    bench.hear(IDLE)
    assert not bench.m.claim
    bench.run_all()
    assert bench.m.state is WAIT, "it makes room for the node that has the data"


def test_a_secondary_with_all_data_takes_over() -> None:
    bench = second(spec=WITH_DATA)
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "up"))
    lose_peer(bench)
    assert bench.m.state is ALONE


def test_the_old_primary_runs_again_when_the_secondary_lacks_data() -> None:
    pair = Pair(spec(has_data=True))
    pair["a"].tell(ValueSet(MODULE, "rfs.uptodate", "up"))
    pair["a"].tell(ValueSet(MODULE, "rfs.epoch", "99"))
    for name in ("a", "b"):
        pair.command(name, Command.START)
    pair.host("a")
    pair["a"].tell(ValueSet(MODULE, "rfs.uptodate", "up"))
    pair["a"].tell(ValueSet(MODULE, "rfs.epoch", "99"))
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    pair.command("a", Command.STOPSTART)
    for _ in range(60):
        pair.exchange()
        if pair["a"].m.state is WAIT and not pair["a"].m.values:
            pair["a"].tell(ValueSet(MODULE, "rfs.uptodate", "up"))
            pair["a"].tell(ValueSet(MODULE, "rfs.epoch", "99"))
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_a_secondary_that_cannot_record_its_role_does_not_take_over() -> None:
    bench = second(spec=AVAILABILITY)
    bench.tell(StorageFailed("disk full"))
    lose_peer(bench)
    bench.run_all()
    bench.pass_time(5.0)
    assert bench.shown == (WAIT, NOT_READY)
    assert "disk full" in bench.m.reason


def test_a_secondary_that_cannot_record_its_role_does_not_claim() -> None:
    bench = second()
    bench.tell(StorageFailed("disk full"))
    bench.hear(IDLE)
    assert not bench.m.claim


def test_a_node_that_comes_up_under_safety_waits_for_the_other() -> None:
    bench = waiting()
    assert bench.shown == (WAIT, TRANSIENT)
    bench.pass_time(5.0)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_node_that_comes_up_under_availability_listens_first() -> None:
    bench = waiting(spec=AVAILABILITY)
    bench.pass_time(0.8)
    assert bench.m.state is WAIT
    bench.pass_time(0.4)
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_a_waiting_node_that_loses_its_primary_waits_under_safety() -> None:
    bench = waiting()
    bench.hear(replace(PRIMARY, readiness=TRANSIENT))
    lose_peer(bench, 5.0)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_waiting_node_goes_on_when_the_other_is_heard_again() -> None:
    bench = waiting()
    bench.pass_time(3.0)
    bench.hear(PRIMARY)
    assert bench.m.state is SECOND


def test_a_secondary_whose_start_is_under_way_when_its_primary_is_lost_decides_afterwards() -> None:
    for policy, expected in ((IsolationPolicy.SAFETY, WAIT), (IsolationPolicy.AVAILABILITY, ALONE)):
        bench = waiting(spec=spec(isolation=policy))
        bench.hear(PRIMARY)
        lose_peer(bench)
        assert bench.shown == (SECOND, TRANSIENT)
        bench.finish()
        assert bench.m.state is expected


def test_a_node_that_slept_does_not_hold_its_sleep_against_the_other() -> None:
    bench = second(spec=AVAILABILITY)
    bench.silence()
    bench.sleep(30.0)
    assert bench.shown == (SECOND, READY)
    bench.pass_time(0.8)
    assert bench.shown == (SECOND, READY)
    bench.pass_time(0.4)
    assert bench.m.state is ALONE


def test_whatever_wakes_a_node_it_notices_its_sleep_first() -> None:
    bench = second(spec=AVAILABILITY)
    bench.now_s += 30.0
    actions = bench.command(Command.FAILOVER_ON)
    assert only(Explain, actions[:1]).rule == "own-sleep"
    assert bench.shown == (SECOND, READY)


@pytest.mark.parametrize("make", [alone, prim])
def test_a_primary_that_slept_longer_than_the_loss_time_doubts_itself(make: Callable[[], Bench]) -> None:
    bench = make()
    bench.sleep(0.7)
    assert not bench.report.doubtful
    bench.sleep(3.0)
    assert bench.report.doubtful
    assert bench.report.active


def test_a_primary_in_doubt_is_not_reassured_by_words_from_before_its_sleep() -> None:
    """The first that it reads is what lay in its buffers; the other may have taken over since."""
    bench = prim()
    bench.sleep(10.0)
    bench.hear(SECONDARY)
    bench.hear(SECONDARY)
    assert bench.report.doubtful
    bench.hear(replace(PRIMARY, state=ALONE, epoch=2, took_over=True))
    assert bench.m.state is WAIT, "the other took over: this node stops"


def test_a_primary_in_doubt_is_reassured_by_a_secondary_that_it_hears_for_a_while() -> None:
    bench = prim()
    bench.sleep(10.0)
    bench.hear(SECONDARY)
    bench.pass_time(2.0)
    assert not bench.report.doubtful
    assert bench.shown == (PRIM, READY)


def test_a_stop_ends_the_doubt() -> None:
    bench = alone()
    bench.sleep(10.0)
    bench.command(Command.STOP)
    bench.run_all()
    assert not bench.report.doubtful


def test_a_node_that_took_over_forgets_it_when_the_other_says_that_it_is_secondary() -> None:
    bench = second(spec=AVAILABILITY)
    lose_peer(bench)
    bench.run_all()
    bench.hear(replace(WAITING, epoch=1))
    assert not bench.report.took_over


def test_a_primary_that_comes_back_from_a_power_loss_does_not_stop_the_one_that_took_over() -> None:
    """It says `active` until it has cleaned up, and runs nothing that could be kept."""
    bench = second(spec=AVAILABILITY)
    lose_peer(bench)
    bench.run_all()
    assert bench.shown == (ALONE, READY)
    bench.peer_incarnation = 2
    bench.hear(replace(IDLE, epoch=1, was_primary=True, active=True))
    bench.pass_time(1.0)
    assert bench.shown == (ALONE, READY)
    assert bench.report.active


def test_a_cut_under_safety_ends_as_it_began() -> None:
    pair = Pair()
    pair.start()
    pair.part(5.0)
    assert pair.states() == {"a": ("ALONE", "Ready"), "b": ("WAIT", "NotReady")}
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    assert pair.most_active == 1


def test_a_cut_under_availability_costs_the_node_that_took_over() -> None:
    pair = Pair(AVAILABILITY)
    pair.start()
    pair.part(5.0)
    assert pair.states() == {"a": ("ALONE", "Ready"), "b": ("ALONE", "Ready")}
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_a_node_that_the_other_does_not_hear_stops_when_both_run() -> None:
    """One-way loss: the other took over and cannot learn of us; only we can end it."""
    bench = alone(spec=AVAILABILITY)
    bench.peer_hears_us = False
    bench.hear(replace(PRIMARY, took_over=True, epoch=2))
    assert bench.shown == (ALONE, READY)
    bench.pass_time(2.0)
    assert bench.m.state is WAIT


def test_a_prim_that_stops_is_followed_at_once() -> None:
    pair = Pair()
    pair.start()
    pair.command("a", Command.STOP)
    pair.settle(1.0)
    assert pair.states()["b"] == ("ALONE", "Ready")
    assert pair["a"].m.state is STOP
    assert pair["b"].m.state is not PRIM
