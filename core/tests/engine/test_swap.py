"""A swap, on both sides, and what happens when it goes wrong half-way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine.actions import Phase, Publish, RunPipeline
from safekit.engine.events import Command, StorageFailed
from safekit.engine.spec import IsolationPolicy

from .kit import (
    ALONE,
    IDLE,
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
    kinds,
    only,
    phases_of,
    prim,
    second,
    spec,
    waiting,
)
from .pair import Pair

HANDED_OVER = replace(SECONDARY, epoch=1, was_primary=True, handover=True)


def handed_over() -> Bench:
    """The old primary after a swap, SECOND Ready, before the other is primary."""
    bench = prim()
    bench.command(Command.SWAP)
    bench.run_all()
    assert bench.shown == (SECOND, READY)
    assert bench.report.handover
    return bench


def test_a_swap_exchanges_the_roles() -> None:
    pair = Pair()
    pair.start()
    pair.command("a", Command.SWAP)
    pair.settle()
    assert pair.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
    assert pair.most_active == 1
    assert not pair["a"].report.handover


def test_the_old_primary_hands_over_only_when_its_stop_has_ended() -> None:
    bench = prim()
    bench.command(Command.SWAP)
    assert not bench.report.handover
    assert bench.report.active
    actions = bench.finish()
    assert bench.report.handover
    assert Publish in kinds(actions)


def test_the_secondary_does_nothing_while_the_old_primary_stops() -> None:
    bench = second()
    actions = bench.hear(replace(PRIMARY, state=SECOND, readiness=TRANSIENT))
    assert not bench.orders(list(actions))
    assert not bench.m.claim


def test_the_new_primary_needs_no_claim() -> None:
    bench = second()
    order = only(RunPipeline, bench.hear(HANDED_OVER))
    assert order.after is PRIM
    assert order.cause == "swap"


def test_the_handover_ends_when_the_new_primary_is_seen() -> None:
    bench = handed_over()
    bench.hear(replace(PRIMARY, state=PRIM, readiness=TRANSIENT, epoch=2))
    assert not bench.report.handover
    assert bench.shown == (SECOND, READY)


def test_the_old_primary_takes_back_when_the_new_one_fails_to_start() -> None:
    bench = handed_over()
    bench.hear(replace(PRIMARY, state=PRIM, readiness=TRANSIENT, epoch=2))
    failed = replace(IDLE, epoch=2, was_primary=True)
    bench.hear(failed)
    assert bench.m.claim
    bench.hear(replace(failed, acknowledged=bench.m.claim))
    assert bench.shown == (ALONE, TRANSIENT)
    assert bench.m.epoch == 3


def test_a_failed_swap_ends_where_it_began() -> None:
    pair = Pair()
    pair.start()
    pair.command("a", Command.SWAP)
    pair.exchange()
    for _ in range(20):
        if pair["b"].m.run is not None and Phase.START_PRIM in pair["b"].orders()[-1].phases:
            break
        pair.exchange(hosts=False)
        if pair["a"].m.run is not None:
            pair.host("a")
    pair["b"].finish(ok=False)
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    assert pair.most_active == 1


def test_the_old_primary_takes_back_when_the_secondary_does_not_take_over_in_time() -> None:
    bench = handed_over()
    bench.hear(SECONDARY)
    bench.pass_time(2.0)
    assert not bench.m.claim
    bench.pass_time(4.0)
    assert bench.m.claim
    assert not bench.report.handover
    bench.hear(replace(SECONDARY, acknowledged=bench.m.claim))
    assert bench.shown == (ALONE, TRANSIENT)


def test_a_secondary_that_became_primary_while_the_other_took_back_wins() -> None:
    """It heard the handover just before it was taken back: its report is active and acknowledges nothing useful."""
    bench = handed_over()
    bench.hear(SECONDARY)
    bench.pass_time(6.0)
    assert bench.m.claim
    bench.hear(replace(PRIMARY, state=PRIM, readiness=TRANSIENT, epoch=2, acknowledged=bench.m.claim))
    assert bench.shown == (SECOND, READY)
    assert not bench.m.claim


def test_a_swap_whose_secondary_was_lost_meanwhile_goes_on_here_under_any_policy() -> None:
    """Nothing was handed over yet, so the other cannot have become primary."""
    for policy in IsolationPolicy:
        bench = prim(spec=spec(isolation=policy))
        bench.command(Command.SWAP)
        bench.silence()
        bench.pass_time(2.0)
        assert bench.shown == (SECOND, TRANSIENT)
        actions = bench.finish()
        assert phases_of(actions) == (Phase.TRANSITION, Phase.START_PRIM, Phase.START_SEC)
        assert bench.shown == (ALONE, TRANSIENT)
        assert not bench.report.handover
        assert bench.report.active


@pytest.mark.parametrize("report", [IDLE, WAITING, replace(SECONDARY, up_to_date=False)])
def test_a_swap_whose_secondary_is_no_more_ready_goes_on_here(report: object) -> None:
    bench = prim()
    bench.command(Command.SWAP)
    bench.hear(report)  # type: ignore[arg-type]
    bench.finish()
    assert bench.shown == (ALONE, TRANSIENT)


def test_a_swap_that_ends_after_a_sleep_is_not_called_off_by_old_words() -> None:
    """The other may have become primary while this node slept."""
    bench = prim()
    bench.command(Command.SWAP)
    bench.sleep(20.0)
    bench.hear(IDLE)
    bench.finish()
    assert not bench.report.active


def test_a_primary_lost_after_the_handover_may_be_primary_so_safety_waits() -> None:
    bench = handed_over()
    bench.hear(SECONDARY)
    bench.silence()
    bench.pass_time(3.0)
    bench.run_all()
    bench.pass_time(10.0)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_stop_during_a_swap_stops_and_leaves_the_role_to_the_other() -> None:
    bench = prim()
    bench.command(Command.SWAP)
    bench.command(Command.STOP)
    bench.run_all()
    assert bench.m.state is STOP
    assert not bench.report.active
    assert not bench.report.handover


def test_a_handover_is_not_remembered_when_the_node_leaves_secondary() -> None:
    bench = handed_over()
    bench.command(Command.STOP)
    bench.run_all()
    bench.command(Command.START)
    bench.run_all()
    assert bench.m.state is WAIT
    assert not bench.report.handover


def test_a_secondary_that_lacks_data_does_not_take_what_is_handed_over() -> None:
    bench = second(spec=spec(has_data=True))
    bench.hear(HANDED_OVER)
    assert not bench.report.active
    assert bench.m.state is not PRIM


def test_a_secondary_that_cannot_record_does_not_take_what_is_handed_over() -> None:
    bench = second()
    bench.tell(StorageFailed("disk full"))
    bench.hear(HANDED_OVER)
    assert not bench.report.active


def test_a_frozen_secondary_does_not_take_an_old_handover() -> None:
    """What it reads first after a freeze is what was sent during the freeze."""
    bench = second()
    bench.sleep(10.0)
    bench.hear(HANDED_OVER)
    assert not bench.report.active


def test_the_automatic_swap_to_the_default_primary_is_tried_once() -> None:
    pair = Pair(spec(default_primary="b"))
    pair.command("a", Command.START)
    pair.settle()
    pair.command("b", Command.START)
    pair.settle()
    assert pair.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
    pair.command("b", Command.SWAP)
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}, "the operator's wish stands"


def test_a_default_primary_that_fails_to_start_is_not_tried_again_and_again() -> None:
    pair = Pair(spec(default_primary="b"))
    pair.command("a", Command.START)
    pair.settle()
    pair.command("b", Command.START)
    failed = 0
    for _ in range(100):
        pair.exchange(hosts=False)
        run = pair["b"].m.run
        if run is not None and Phase.START_PRIM in run.row.phases:
            pair["b"].finish(ok=False)
            failed += 1
        for name in ("a", "b"):
            pair.host(name)
    assert failed == 1
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_the_default_primary_is_not_given_the_role_before_it_is_ready() -> None:
    bench = waiting(spec=spec(default_primary="b"))
    bench.hear(replace(IDLE, readiness=NOT_READY))
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.run_all()
    bench.hear(replace(SECONDARY, readiness=TRANSIENT))
    bench.run_all()
    bench.pass_time(3.0)
    assert bench.shown == (PRIM, READY)
