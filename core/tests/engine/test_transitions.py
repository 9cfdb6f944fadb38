"""Each row of the table: the phases and their order are those of SafeKit 8.2's reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine.actions import Phase, RunPipeline
from safekit.engine.events import Command
from safekit.engine.module import LEAP
from safekit.engine.reports import ModuleState
from safekit.engine.transitions import ROWS, phases

from .kit import (
    ALONE,
    AVAILABILITY,
    IDLE,
    PRIM,
    PRIMARY,
    READY,
    SECOND,
    SECONDARY,
    STOP,
    TRANSIENT,
    UP,
    WAIT,
    Bench,
    alone,
    claiming,
    only,
    phases_of,
    prim,
    second,
    spec,
    stopped,
    up,
    waiting,
)

P = Phase


def test_a_start_runs_transition_then_prestart() -> None:
    bench = stopped()
    bench.command(Command.START)
    assert phases_of(bench.host_ready()) == (P.TRANSITION, P.PRESTART)
    assert bench.shown == (WAIT, TRANSIENT)


def test_becoming_alone_starts_both_then_prim_then_sec_with_a_new_epoch() -> None:
    bench = claiming()
    order = only(RunPipeline, bench.hear(replace(IDLE, epoch=6, acknowledged=bench.m.claim)))
    assert order.phases == (P.TRANSITION, P.START_BOTH, P.START_PRIM, P.START_SEC)
    assert (order.before, order.after, order.epoch) == (WAIT, ALONE, 7)
    assert bench.shown == (ALONE, TRANSIENT)
    assert bench.report.active
    bench.finish()
    assert bench.shown == (ALONE, READY)


def test_becoming_second_starts_both_then_second_then_sec() -> None:
    bench = waiting()
    assert phases_of(bench.hear(PRIMARY)) == (P.TRANSITION, P.START_BOTH, P.START_SECOND, P.START_SEC)
    assert bench.shown == (SECOND, TRANSIENT)
    assert not bench.report.active
    bench.finish()
    assert bench.shown == (SECOND, READY)


def test_a_farm_node_becomes_up_by_start_both_alone() -> None:
    bench = up()
    assert bench.orders()[-1].phases == (P.TRANSITION, P.START_BOTH)
    assert bench.report.active


def test_an_alone_whose_peer_became_secondary_stops_sec_and_is_prim() -> None:
    bench = alone()
    assert phases_of(bench.hear(SECONDARY)) == (P.STOP_SEC, P.TRANSITION)
    assert bench.shown == (PRIM, TRANSIENT)


def test_a_prim_whose_peer_left_starts_sec_and_is_alone() -> None:
    bench = prim()
    assert phases_of(bench.hear(IDLE)) == (P.TRANSITION, P.START_SEC)
    assert bench.shown == (ALONE, TRANSIENT)


def test_a_takeover_stops_second_and_starts_prim() -> None:
    bench = second(spec=AVAILABILITY)
    bench.silence()
    order = only(RunPipeline, bench.pass_time(1.2))
    assert order.phases == (P.STOP_SECOND, P.TRANSITION, P.START_PRIM)
    assert (order.before, order.after, order.epoch) == (SECOND, ALONE, 1 + LEAP)


def test_a_swap_on_the_old_primary_stops_prim_then_starts_second_then_sec() -> None:
    bench = prim()
    assert phases_of(bench.command(Command.SWAP)) == (P.STOP_PRIM,)
    assert bench.report.active
    actions = bench.finish()
    assert phases_of(actions) == (P.TRANSITION, P.START_SECOND, P.START_SEC)
    assert bench.report.handover
    assert not bench.report.active


def test_a_swap_on_the_old_secondary_stops_sec_and_second_then_starts_prim() -> None:
    bench = second()
    actions = bench.hear(replace(SECONDARY, handover=True, epoch=1))
    assert phases_of(actions) == (P.STOP_SEC, P.STOP_SECOND, P.TRANSITION, P.START_PRIM)
    assert bench.shown == (PRIM, TRANSIENT)
    assert only(RunPipeline, actions).epoch == 2


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (waiting, (P.STOP_SEC, P.STOP_PRIM, P.STOP_SECOND, P.STOP_BOTH, P.POSTSTOP, P.TRANSITION)),
        (alone, (P.STOP_SEC, P.STOP_PRIM, P.STOP_BOTH, P.POSTSTOP, P.TRANSITION)),
        (prim, (P.STOP_PRIM, P.STOP_BOTH, P.POSTSTOP, P.TRANSITION)),
        (second, (P.STOP_SEC, P.STOP_SECOND, P.STOP_BOTH, P.POSTSTOP, P.TRANSITION)),
        (up, (P.STOP_BOTH, P.POSTSTOP, P.TRANSITION)),
    ],
)
def test_a_stop_walks_back_what_its_state_had_started(make: object, expected: tuple[Phase, ...]) -> None:
    bench: Bench = make()  # type: ignore[operator]
    assert phases_of(bench.command(Command.STOP)) == expected
    assert bench.shown == (STOP, TRANSIENT)
    bench.finish()
    assert bench.shown[0] is STOP
    assert not bench.report.active


@pytest.mark.parametrize("make", [alone, prim, second, up])
def test_a_restart_stays_in_its_state(make: object) -> None:
    bench: Bench = make()  # type: ignore[operator]
    before = bench.m.state
    assert phases_of(bench.command(Command.RESTART)) == (P.RESTART,)
    assert bench.shown == (before, TRANSIENT)
    bench.finish()
    assert bench.shown == (before, READY)


def test_the_table_has_no_dead_end_and_every_state_is_reached() -> None:
    leads_to: dict[ModuleState, set[ModuleState]] = {state: set() for state in ModuleState}
    for row in ROWS.values():
        for before in row.before:
            leads_to[before].add(row.after or before)
    for state in ModuleState:
        assert leads_to[state] - {state}, f"{state} has no exit"
        reached, new = set(), {state}
        while new:
            reached |= new
            new = set().union(*(leads_to[s] for s in new)) - reached
        assert reached == set(ModuleState), f"{state} does not lead to {set(ModuleState) - reached}"


def test_every_row_has_phases_that_the_host_runs_from_every_state_it_begins_in() -> None:
    for row in ROWS.values():
        for before in row.before:
            assert phases(row, before, force=False)
            assert phases(row, before, force=True)


def test_what_takes_the_primary_role_starts_and_what_releases_it_starts_nothing() -> None:
    for row in ROWS.values():
        assert not (row.takes and row.releases)
        assert not row.takes or row.starts
        assert not (row.releases and row.starts)


def test_a_module_with_one_node_is_alone_without_waiting() -> None:
    bench = waiting(spec=spec(nodes=("a",)))
    assert bench.shown == (ALONE, READY)
    assert UP not in {order.after for order in bench.orders()}
    assert PRIM not in {order.after for order in bench.orders()}
