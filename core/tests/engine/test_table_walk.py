"""No situation without a way out: from each that one node can get into it comes to run, to back up, and to stop."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from safekit.engine.events import Command, CommandGiven
from safekit.engine.module import Module
from safekit.engine.reports import ModuleReport
from safekit.engine.spec import IsolationPolicy, Kind, ModuleSpec
from safekit.engine.transitions import ROWS

from .kit import ALONE, IDLE, MODULE, NOT_READY, PRIMARY, READY, SECOND, UP, WAIT, spec
from .walk import Place, is_stopped, settle, walk

MOST = 4000
TICKS = 150
"""Longer than the longest pause before something is tried again."""
SPECS: dict[str, ModuleSpec] = {
    "safety": spec(),
    "fence": spec(fences=True),
    "data": spec(has_data=True, isolation=IsolationPolicy.AVAILABILITY),
    "light": spec(kind=Kind.LIGHT),
}
MIRRORS = [name for name, module in SPECS.items() if module.kind is Kind.MIRROR]


@cache
def places(name: str) -> list[Place]:
    return walk(SPECS[name], MOST)


def tell(place: Place, command: Command) -> Place:
    return place.tell(CommandGiven(MODULE, command))


def runs(m: Module) -> bool:
    return m.state in {ALONE, UP} and m.readiness is READY


def backs_up(m: Module) -> bool:
    return m.state is SECOND and m.readiness is READY


def rests(m: Module) -> bool:
    """It runs, or the silence of the peer is all that keeps it from it."""
    return runs(m) or (m.state is WAIT and m.readiness is NOT_READY and "cannot be heard" in m.reason)


def assert_all_come(name: str, command: Command, report: ModuleReport | None, done: object) -> None:
    for place in places(name):
        end = settle(tell(place, command), report, done, TICKS)  # type: ignore[arg-type]
        assert end is not None, f"no way out of {place.m.state}: {', '.join(place.path)}"


@pytest.mark.parametrize("name", list(SPECS))
def test_every_situation_is_found(name: str) -> None:
    assert 400 < len(places(name)) < MOST


@pytest.mark.parametrize("name", list(SPECS))
def test_each_comes_to_run_when_the_peer_does_not(name: str) -> None:
    assert_all_come(name, Command.START, IDLE, runs)


@pytest.mark.parametrize("name", MIRRORS)
def test_each_comes_to_back_up_a_peer_that_runs(name: str) -> None:
    assert_all_come(name, Command.START, replace(PRIMARY, epoch=10_000), backs_up)


@pytest.mark.parametrize("name", list(SPECS))
def test_each_comes_to_stop_also_without_the_peer(name: str) -> None:
    assert_all_come(name, Command.STOP, None, is_stopped)


@pytest.mark.parametrize("name", [name for name in MIRRORS if name != "data"])
def test_each_comes_to_run_without_the_peer_by_an_operators_word_at_the_latest(name: str) -> None:
    for place in places(name):
        rested = settle(tell(place, Command.START), None, rests, TICKS)
        assert rested is not None, f"it does not rest: {', '.join(place.path)}"
        end = settle(tell(rested, Command.PRIM), None, runs, TICKS)
        assert end is not None, f"no way out of {rested.m.state}: {', '.join(place.path)}"


def test_every_row_is_begun_by_some_situation() -> None:
    begun = {place.m.run.row.name for name in MIRRORS for place in places(name) if place.m.run is not None}
    assert begun == set(ROWS) - {"become-up", "reconfigure", "anew"}
    assert "become-up" in {place.m.run.row.name for place in places("light") if place.m.run is not None}


def test_rows_begin_where_the_table_says() -> None:
    for place in (place for name in SPECS for place in places(name) if place.m.run is not None):
        assert place.m.run is not None
        for order in (order for order in place.ordered if order.run == place.m.run.number):
            assert order.before in place.m.run.row.before, f"{place.m.run.row.name}: {', '.join(place.path)}"
            assert place.m.run.row.after in {order.after, None}
