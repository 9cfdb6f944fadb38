"""Both ran while they could not hear each other: exactly one of them stops, whoever hears first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.engine.actions import RunPipeline
from safekit.engine.meeting import loses
from safekit.engine.module import PeerView, Surroundings, Turn
from safekit.engine.reports import ModuleReport
from safekit.engine.transitions import PRIMARY as PRIMARY_STATES

from .kit import (
    ALONE,
    AVAILABILITY,
    IDLE,
    LOST_AFTER_S,
    PRIM,
    PRIMARY,
    READY,
    SECOND,
    STOP,
    TRANSIENT,
    WAIT,
    Bench,
    alone,
    only,
    second,
    spec,
)
from .pair import Pair

BOTH = st.tuples(st.booleans(), st.booleans())


def both_alone() -> Pair:
    """a was primary, b took over while they were apart."""
    pair = Pair(AVAILABILITY)
    pair.start()
    pair.part(3.0)
    assert pair.active() == {"a", "b"}
    return pair


def judge(bench: Bench, report: ModuleReport) -> bool:
    other = "b" if bench.name == "a" else "a"
    view = PeerView(other, alive=True, absent=False, report=report)
    return loses(Turn(bench.m, Surroundings(bench.name, 1, view, "", LOST_AFTER_S, LOST_AFTER_S), bench.now_s), report)


@given(doubtful=BOTH, took_over=BOTH, epochs=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_exactly_one_of_the_two_loses(
    doubtful: tuple[bool, bool], took_over: tuple[bool, bool], epochs: tuple[int, int]
) -> None:
    benches = [Bench("a"), Bench("b")]
    for index, bench in enumerate(benches):
        module = replace(
            bench.m,
            state=ALONE,
            readiness=READY,
            active=True,
            doubtful=doubtful[index],
            took_over=took_over[index],
            epoch=epochs[index],
        )
        bench.node = replace(bench.node, modules={module.spec.name: module})
    first, second_one = benches
    assert judge(first, second_one.report) != judge(second_one, first.report)


@pytest.mark.parametrize("first", ["a", "b"])
def test_whoever_hears_first_the_node_that_took_over_stops(first: str) -> None:
    pair = both_alone()
    other = "b" if first == "a" else "a"
    for _ in range(2):
        pair.deliver(pair.beat(other), to=first)
        pair.deliver(pair.beat(first), to=other)
    assert pair["a"].m.state is ALONE
    assert pair["b"].m.state is WAIT
    pair.settle()
    assert pair.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


@pytest.mark.parametrize("first", ["a", "b"])
def test_whoever_hears_first_the_node_that_was_frozen_stops(first: str) -> None:
    pair = both_alone()
    pair["b"].node = replace(pair["b"].node, modules={"web": replace(pair["b"].m, took_over=True)})
    for bench in pair.benches.values():
        bench.now_s = max(b.now_s for b in pair.benches.values())
    pair["a"].sleep(5.0)
    pair["b"].pass_time(5.0)
    other = "b" if first == "a" else "a"
    for _ in range(2):
        pair.deliver(pair.beat(other), to=first)
        pair.deliver(pair.beat(first), to=other)
    assert pair["a"].m.state is WAIT
    assert pair["b"].m.state is ALONE
    pair.settle()
    assert pair.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}


def test_the_loser_stops_by_force_and_says_so_with_an_alarm() -> None:
    bench = alone()
    order = only(RunPipeline, bench.hear(replace(PRIMARY, epoch=5)))
    assert order.force
    assert bench.shown == (WAIT, TRANSIENT)
    assert bench.report.active
    assert any(said.severity == "alarm" and said.rule == "two-primaries" for said in bench.explained())
    bench.finish()
    assert not bench.report.active


def test_the_winner_says_so_once_and_goes_on() -> None:
    bench = alone()
    bench.hear(replace(PRIMARY, epoch=0))
    said = [said for said in bench.explained() if said.rule == "two-primaries"]
    assert [s.severity for s in said] == ["alarm"]
    bench.pass_time(1.0)
    assert [s for s in bench.all if getattr(s, "rule", "") == "two-primaries"] == said
    assert bench.shown == (ALONE, READY)


@pytest.mark.parametrize("state", [STOP, WAIT, SECOND])
def test_a_node_that_is_about_to_stop_anyway_makes_nobody_lose(state: object) -> None:
    bench = second(spec=AVAILABILITY)
    bench.silence()
    bench.pass_time(1.5)
    bench.run_all()
    assert bench.report.took_over
    bench.hear(replace(PRIMARY, state=state, readiness=TRANSIENT, epoch=1))  # type: ignore[arg-type]
    assert bench.shown == (ALONE, READY)
    assert ALONE in PRIMARY_STATES


def test_a_loser_breaks_off_the_start_that_is_under_way() -> None:
    """A start may take minutes; two primaries may not."""
    bench = second(spec=AVAILABILITY)
    bench.silence()
    bench.pass_time(1.5)
    assert bench.shown == (ALONE, TRANSIENT)
    bench.hear(replace(PRIMARY, state=PRIM, epoch=1))
    assert bench.m.run is not None
    assert bench.m.run.killed
    bench.host_lost("broken off")
    assert bench.m.state is WAIT
    bench.pass_time(0.1)
    bench.run_all()
    assert not bench.report.active


def test_the_loser_becomes_secondary_of_the_winner() -> None:
    bench = alone(spec=spec())
    bench.hear(replace(PRIMARY, epoch=5))
    bench.run_all()
    assert bench.m.state is SECOND
    assert bench.m.epoch == 5
    bench.hear(IDLE)
    assert bench.m.claim
