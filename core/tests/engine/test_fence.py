"""A lost node is fenced before another relies on it that it runs nothing."""

from __future__ import annotations

from dataclasses import replace

from safekit.engine.actions import Explain, Phase, WitnessCall
from safekit.engine.events import ValueSet, WitnessAnswered
from safekit.engine.fence import AGAIN_S, YIELD_S

from .kit import (
    ALONE,
    LOST_AFTER_S,
    MODULE,
    PRIM,
    PRIMARY,
    READY,
    SECOND,
    SECONDARY,
    Bench,
    phases_of,
    second,
    spec,
    waiting,
)
from .third import WITNESS

FENCES = spec(fences=True)
WITH_DATA = spec(fences=True, has_data=True)
SAYS_PRIM = replace(PRIMARY, state=PRIM)


def fencing(bench: Bench) -> bool:
    return bench.m.run is not None and bench.m.run.row.name == "fence"


def lost(bench: Bench) -> Bench:
    """The other node is silent for the loss time."""
    bench.silence()
    bench.pass_time(LOST_AFTER_S + 0.3)
    return bench


def with_data(bench: Bench) -> Bench:
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "up", by="test"))
    bench.tell(ValueSet(MODULE, "rfs.epoch", "9", by="test"))
    return bench


def test_a_secondary_fences_its_lost_primary_and_then_takes_over_even_if_the_policy_is_safety() -> None:
    bench = lost(second(spec=FENCES))
    assert fencing(bench)
    assert bench.orders()[-1].phases == (Phase.FENCE,)
    assert bench.orders()[-1].peer == "b"
    assert Phase.START_PRIM in phases_of(bench.finish())
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_a_node_that_could_not_be_fenced_is_not_taken_over_from() -> None:
    bench = lost(second(spec=FENCES))
    bench.finish(ok=False)
    assert bench.shown == (SECOND, READY)
    said = [action for action in bench.all if isinstance(action, Explain)][-1]
    assert (said.rule, said.severity) == ("fence-failed", "alarm")
    bench.pass_time(AGAIN_S - 1.0)
    assert not fencing(bench)
    bench.pass_time(1.5)
    assert fencing(bench)


def test_a_node_that_is_heard_again_is_fenced_anew_when_it_is_lost_anew() -> None:
    bench = lost(second(spec=FENCES))
    bench.hear(SAYS_PRIM)
    bench.finish()
    assert bench.shown == (SECOND, READY)
    assert bench.m.fenced_s == bench.now_s
    bench.pass_time(0.1)
    bench.hear(SAYS_PRIM)
    lost(bench)
    assert fencing(bench)


def test_where_a_witness_decides_only_who_has_the_lease_fences_and_keeps_it_meanwhile() -> None:
    bench = second(spec=spec(fences=True, witness=WITNESS))
    bench.silence()
    bench.pass_time(WITNESS.lease_s - 1.0)
    assert not fencing(bench)
    bench.pass_time(2.0)
    right = bench.m.right
    assert right.call == WitnessCall.ACQUIRE
    bench.tell(WitnessAnswered(MODULE, right.number, True, True, 50, WITNESS.lease_s))
    assert fencing(bench)
    bench.pass_time(1.5)
    assert bench.m.right.call == WitnessCall.RENEW


def test_a_primary_with_data_fences_before_it_stands_alone() -> None:
    bench = lost(_primary_with_data())
    assert fencing(bench)
    assert bench.m.state is PRIM
    assert Phase.STAND_ALONE in phases_of(bench.finish())


def test_a_secondary_with_data_lets_the_primary_fence_first() -> None:
    bench = waiting(spec=WITH_DATA)
    with_data(bench)
    bench.hear(PRIMARY)
    bench.run_all()
    bench.hear(SAYS_PRIM)
    lost(bench)
    assert not fencing(bench)
    assert bench.shown == (SECOND, READY)
    bench.pass_time(YIELD_S)
    assert fencing(bench)


def test_a_node_that_starts_alone_fences_nobody() -> None:
    bench = waiting(spec=FENCES)
    bench.pass_time(10.0)
    assert bench.m.state.value == "WAIT"
    assert not any(Phase.FENCE in order.phases for order in bench.orders())


def _primary_with_data() -> Bench:
    bench = with_data(waiting(spec=WITH_DATA))
    idle = replace(SECONDARY, state=SECONDARY.state.WAIT, up_to_date=False)
    bench.hear(idle)
    bench.hear(replace(idle, acknowledged=bench.m.claim))
    bench.hear(replace(idle, alone_epoch=bench.m.alone_epoch))
    bench.run_all()
    bench.hear(replace(SECONDARY, alone_epoch=bench.m.alone_epoch))
    bench.run_all()
    assert bench.shown == (PRIM, READY)
    return bench
