"""How a node becomes primary while it hears the other: by claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine.actions import Publish
from safekit.engine.events import Command

from .kit import (
    ALONE,
    IDLE,
    NOT_READY,
    PRIMARY,
    READY,
    SECOND,
    SECONDARY,
    TRANSIENT,
    WAIT,
    WAITING,
    claiming,
    kinds,
    prim,
    second,
    spec,
    waiting,
)
from .pair import Pair


def test_a_node_claims_and_publishes_before_it_starts_anything() -> None:
    bench = waiting()
    actions = bench.hear(IDLE)
    assert bench.m.claim
    assert Publish in kinds(actions)
    assert not bench.orders(list(actions))
    assert not bench.report.active


def test_an_acknowledgement_of_another_claim_is_not_one() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim - 1))
    assert bench.m.state is WAIT


def test_an_acknowledgement_by_a_node_that_claims_itself_is_not_one() -> None:
    bench = claiming()
    bench.hear(replace(WAITING, acknowledged=bench.m.claim, claim=7))
    assert bench.m.state is WAIT
    assert bench.m.claim, "the first of the list insists"


def test_an_acknowledgement_by_an_active_node_is_not_one() -> None:
    bench = claiming()
    bench.hear(replace(PRIMARY, acknowledged=bench.m.claim))
    assert bench.m.state is SECOND
    assert not bench.m.claim


def test_of_two_claims_the_later_node_of_the_list_withdraws() -> None:
    bench = waiting(name="b")
    bench.hear(IDLE)
    assert bench.m.claim
    bench.hear(replace(WAITING, claim=7))
    assert not bench.m.claim
    assert bench.report.acknowledged == 7


def test_a_claim_is_acknowledged_at_once_in_every_state() -> None:
    for bench in (waiting(), second(), prim()):
        assert bench.peer is None or not bench.peer.claim
        actions = bench.hear(replace(bench.peer or WAITING, claim=9))
        assert bench.report.acknowledged == 9
        assert Publish in kinds(actions)


def test_an_acknowledgement_ends_with_the_claim() -> None:
    bench = waiting(name="b")
    bench.hear(replace(WAITING, claim=9))
    bench.hear(WAITING)
    assert bench.report.acknowledged == 0


def test_claims_of_one_node_never_repeat() -> None:
    bench = claiming()
    seen = {bench.m.claim}
    for _ in range(3):
        bench.hear(replace(PRIMARY, readiness=TRANSIENT))
        assert not bench.m.claim
        bench.hear(IDLE)
        assert bench.m.claim not in seen
        seen.add(bench.m.claim)
    other = claiming(incarnation=2)
    assert other.m.claim not in seen


def test_a_claim_says_what_it_waits_for() -> None:
    bench = claiming()
    assert "claim" in bench.m.reason
    assert "b" in bench.m.reason


def test_a_stop_takes_the_claim_back() -> None:
    bench = claiming()
    bench.command(Command.STOP)
    assert not bench.report.claim


def test_a_claim_does_not_outlive_a_sleep() -> None:
    """What was acknowledged before a freeze is not true after it: the other may have taken over since."""
    bench = claiming()
    claim = bench.m.claim
    bench.sleep(5.0)
    bench.hear(replace(WAITING, acknowledged=claim))
    assert bench.m.state is WAIT
    assert not bench.report.active


def test_nodes_that_start_together_end_as_one_primary_and_one_secondary() -> None:
    pair = Pair()
    for name in ("a", "b"):
        pair.command(name, Command.START)
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_claims_that_cross_make_one_primary(order: str) -> None:
    """Both claim before either has heard the other's claim, then hear them in either order."""
    pair = Pair()
    for name in ("a", "b"):
        pair.command(name, Command.START)
        pair.host(name)
    stale = {name: pair.beat(name) for name in ("a", "b")}
    pair.deliver(stale["b"], to="a")
    pair.deliver(stale["a"], to="b")
    crossing = {name: pair.beat(name) for name in ("a", "b")}
    for name in order:
        pair.deliver(crossing["b" if name == "a" else "a"], to=name)
        assert pair.active() <= {"a"} or pair.active() <= {"b"}
    pair.settle()
    assert pair.most_active == 1
    assert {state for state, _ in pair.states().values()} == {"PRIM", "SECOND"}


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_old_acknowledgement_that_arrives_late_makes_no_second_primary(first: str) -> None:
    """The acknowledgement of a claim that was withdrawn since is of no use."""
    pair = Pair()
    other = "b" if first == "a" else "a"
    pair.command(first, Command.START)
    pair.host(first)
    pair.deliver(pair.beat(other), to=first)
    pair.deliver(pair.beat(first), to=other)
    late = pair.beat(other)
    pair.command(first, Command.STOP)
    pair.host(first)
    pair.command(first, Command.START)
    pair.host(first)
    pair.deliver(late, to=first)
    assert pair.active() == set()


def test_who_is_to_be_secondary_does_not_keep_the_other_waiting() -> None:
    pair = Pair()
    pair.command("a", Command.SECOND)
    pair.command("b", Command.START)
    pair.settle()
    assert pair.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}


def test_a_node_that_waits_for_its_next_attempt_does_not_keep_the_other_waiting() -> None:
    bench = waiting()
    bench.hear(replace(WAITING, readiness=NOT_READY, epoch=9, was_primary=True))
    assert bench.m.claim


def test_the_last_primary_goes_first_then_the_higher_epoch_then_the_default_then_the_list() -> None:
    early = waiting()
    early.hear(replace(WAITING, epoch=3, was_primary=True))
    assert not early.m.claim
    assert early.shown == (WAIT, TRANSIENT)
    late = waiting(name="b")
    late.hear(WAITING)
    assert not late.m.claim
    default = waiting(name="b", spec=spec(default_primary="b"))
    default.hear(WAITING)
    assert default.m.claim


def test_a_secondary_claims_when_its_primary_stopped_and_takes_over_when_acknowledged() -> None:
    bench = second()
    bench.hear(replace(IDLE, epoch=1, was_primary=True))
    assert bench.shown == (SECOND, READY)
    assert bench.m.claim
    bench.hear(replace(IDLE, epoch=1, was_primary=True, acknowledged=bench.m.claim))
    assert bench.shown == (ALONE, TRANSIENT)
    assert bench.m.epoch == 2
    assert not bench.m.took_over


def test_of_two_secondaries_the_last_primary_takes_over() -> None:
    bench = second()
    bench.hear(replace(SECONDARY, epoch=1, was_primary=True))
    assert not bench.m.claim


def test_a_waiting_node_leaves_the_takeover_to_the_secondary() -> None:
    bench = waiting()
    bench.hear(SECONDARY)
    assert not bench.m.claim
    assert bench.shown == (WAIT, TRANSIENT)


def test_a_node_that_listens_does_not_claim_before_it_heard_the_other() -> None:
    bench = waiting()
    bench.pass_time(0.5)
    assert not bench.m.claim
    assert bench.m.state is WAIT


def test_a_peer_without_the_module_is_not_an_idle_peer() -> None:
    """Its daemon has just come up, and has not said yet what may still run there."""
    bench = waiting()
    bench.tell_empty_beat()
    assert not bench.m.claim
    assert bench.shown == (WAIT, TRANSIENT)
