"""Each command in each state: taken, taken later, or refused with the reason and without any effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from safekit.engine.actions import KillHost, Phase, RunPipeline, StartHost, StopHost
from safekit.engine.events import Command, ValueSet
from safekit.engine.spec import IsolationPolicy, Kind

from .kit import (
    ALONE,
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
    UP,
    WAIT,
    WAITING,
    Bench,
    alone,
    claiming,
    kinds,
    only,
    phases_of,
    prim,
    second,
    spec,
    stopped,
    up,
    waiting,
)

IN_STATE: dict[str, Callable[..., Bench]] = {
    "STOP": stopped,
    "WAIT": waiting,
    "ALONE": alone,
    "PRIM": prim,
    "SECOND": second,
    "UP": up,
}
REFUSED = {
    Command.RESTART: {"STOP", "WAIT"},
    Command.STOPSTART: {"STOP"},
    Command.SWAP: {"STOP", "WAIT", "ALONE", "SECOND", "UP"},
    Command.PRIM: {"SECOND", "UP"},
    Command.SECOND: {"ALONE", "PRIM", "UP"},
}


def refused(bench: Bench) -> bool:
    return any(said.rule == "refused" for said in bench.explained())


@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("state", list(IN_STATE))
def test_a_command_is_refused_exactly_where_it_makes_no_sense(command: Command, state: str) -> None:
    bench = IN_STATE[state]()
    before = bench.m
    bench.command(command)
    assert refused(bench) == (state in REFUSED.get(command, set()))
    assert bench.explained(), "every command is answered"
    if refused(bench):
        said = next(said for said in bench.explained() if said.rule == "refused")
        assert said.decision.startswith(f"{command}: refused, ")
        assert said.prevent, "and says what to do instead"
        assert replace(bench.m, loops=before.loops, retry_s=before.retry_s) == before


@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("state", list(IN_STATE))
def test_after_any_command_the_module_comes_to_rest(command: Command, state: str) -> None:
    bench = IN_STATE[state]()
    bench.command(command)
    for _ in range(30):
        bench.run_all()
        bench.pass_time(0.1)
    assert bench.m.run is None
    assert bench.m.readiness is READY or bench.m.state in {STOP, WAIT}


def test_a_start_starts_the_host_first() -> None:
    bench = stopped()
    assert bench.m.host.value == "none"
    assert only(StartHost, bench.command(Command.START)).module == MODULE
    assert bench.m.state is STOP
    bench.host_ready()
    assert bench.m.state is WAIT


def test_a_stopped_module_needs_no_host() -> None:
    bench = waiting()
    bench.command(Command.STOP)
    assert StopHost in kinds(bench.finish())
    assert bench.shown == (STOP, NOT_READY)


def test_what_checkers_said_does_not_outlive_the_host() -> None:
    """A value from before a stop says nothing about the next start: data age while a module is stopped."""
    bench = waiting(spec=spec(has_data=True))
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "up"))
    assert bench.report.up_to_date
    bench.command(Command.STOP)
    bench.run_all()
    assert not bench.m.values
    assert not bench.report.up_to_date


def test_a_stop_during_a_start_follows_when_the_run_has_ended() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    assert not bench.orders(list(bench.command(Command.STOP)))
    assert bench.shown == (ALONE, TRANSIENT)
    assert phases_of(bench.finish())[-2] is Phase.POSTSTOP
    bench.finish()
    assert bench.shown == (STOP, NOT_READY)


def test_a_start_during_a_stop_starts_it_again_afterwards() -> None:
    bench = alone()
    bench.command(Command.STOP)
    bench.command(Command.START)
    bench.run_all()
    assert bench.m.state is WAIT


def test_a_forcestop_during_a_hanging_start_kills_the_host_and_cleans_up() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    assert only(KillHost, bench.command(Command.FORCESTOP)).module == MODULE
    assert bench.report.active
    bench.host_lost("forcestop")
    assert bench.report.active
    bench.pass_time(0.1)
    bench.host_ready()
    assert only(RunPipeline, bench.last).phases == (Phase.CLEANUP,)
    bench.finish()
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.report.active
    assert not bench.m.desired


def test_a_forcestop_kills_the_host_once() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    assert KillHost in kinds(bench.command(Command.FORCESTOP))
    assert KillHost not in kinds(bench.command(Command.FORCESTOP))


@pytest.mark.parametrize("state", ["WAIT", "ALONE", "PRIM", "SECOND", "UP"])
def test_a_forcestop_of_a_module_at_rest_stops_everything_by_force(state: str) -> None:
    bench = IN_STATE[state]()
    order = only(RunPipeline, bench.command(Command.FORCESTOP))
    assert order.force
    assert {Phase.STOP_SEC, Phase.STOP_PRIM, Phase.STOP_SECOND, Phase.STOP_BOTH} <= set(order.phases)


def test_a_forcestop_of_a_stopped_module_changes_nothing() -> None:
    bench = stopped()
    assert not bench.orders(list(bench.command(Command.FORCESTOP)))


def test_a_shutdown_stops_but_keeps_what_the_operator_wants() -> None:
    bench = prim()
    bench.command(Command.SHUTDOWN)
    bench.run_all()
    assert bench.m.state is STOP
    assert bench.m.desired
    assert not bench.report.active
    bench.pass_time(5.0)
    assert bench.m.state is STOP


def test_a_shutdown_during_a_start_stops_it_afterwards() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.command(Command.SHUTDOWN)
    bench.run_all()
    assert bench.m.state is STOP
    assert bench.m.desired


def test_a_stopstart_stops_and_starts_again() -> None:
    bench = alone()
    assert Phase.POSTSTOP in phases_of(bench.command(Command.STOPSTART))
    assert bench.m.state is STOP
    assert Phase.PRESTART in phases_of(bench.finish())
    bench.run_all()
    assert bench.m.state is WAIT


def test_a_restart_that_waits_is_forgotten_by_a_stop() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.command(Command.RESTART)
    assert bench.m.pending is Command.RESTART
    bench.command(Command.STOP)
    bench.run_all()
    assert bench.m.state is STOP
    assert not any(Phase.RESTART in order.phases for order in bench.orders())


def test_a_swap_that_waits_follows_the_run_or_is_refused_then() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.command(Command.SWAP)
    bench.finish()
    assert refused(bench)
    assert bench.m.pending is None
    assert bench.shown == (ALONE, READY)


def test_a_swap_is_refused_when_the_secondary_lacks_data() -> None:
    bench = prim()
    bench.hear(replace(SECONDARY, up_to_date=False))
    bench.command(Command.SWAP)
    assert refused(bench)
    assert bench.shown == (PRIM, READY)


def test_a_swap_is_refused_while_the_secondary_is_not_ready() -> None:
    bench = prim()
    bench.hear(replace(SECONDARY, readiness=TRANSIENT))
    bench.command(Command.SWAP)
    assert refused(bench)


def test_prim_is_refused_when_the_other_is_primary_and_starts_nothing() -> None:
    bench = stopped()
    bench.hear(PRIMARY)
    bench.command(Command.PRIM)
    assert refused(bench)
    assert not bench.m.desired
    bench.run_all()
    assert bench.m.state is STOP


def test_prim_is_refused_without_the_data_unless_by_force() -> None:
    bench = waiting(spec=spec(has_data=True))
    bench.hear(IDLE)
    bench.command(Command.PRIM)
    assert refused(bench)
    assert not bench.m.claim
    bench.command(Command.PRIM, force=True)
    assert not refused(bench)
    assert bench.m.claim


def test_prim_with_data_is_refused_while_the_other_is_silent_unless_by_force() -> None:
    bench = waiting(spec=spec(has_data=True))
    bench.tell(ValueSet(MODULE, "rfs.uptodate", "up"))
    bench.pass_time(2.0)
    bench.command(Command.PRIM)
    assert refused(bench)
    assert bench.m.state is WAIT
    bench.command(Command.PRIM, force=True)
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_prim_without_data_runs_it_while_the_other_is_silent() -> None:
    bench = waiting()
    bench.pass_time(2.0)
    assert bench.shown == (WAIT, NOT_READY)
    bench.command(Command.PRIM)
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_prim_that_was_given_while_the_other_was_heard_is_void_once_it_is_silent() -> None:
    """The other has acknowledged nothing, and may have become primary by our own acknowledgement."""
    bench = waiting(name="b")
    bench.hear(replace(WAITING, claim=5))
    bench.command(Command.PRIM)
    assert bench.report.acknowledged == 5
    bench.silence()
    bench.pass_time(3.0)
    bench.run_all()
    assert bench.shown == (WAIT, NOT_READY)
    bench.command(Command.PRIM)
    bench.run_all()
    assert bench.shown == (ALONE, READY)


def test_prim_of_a_stopped_module_starts_it_as_primary() -> None:
    bench = stopped(name="b")
    bench.hear(replace(WAITING, epoch=4, was_primary=True))
    bench.command(Command.PRIM)
    bench.run_all()
    assert bench.m.claim


def test_prim_lasts_for_one_role_only() -> None:
    bench = alone()
    assert not bench.m.chosen
    other = waiting(name="b")
    other.hear(WAITING)
    other.command(Command.PRIM)
    other.hear(replace(PRIMARY, readiness=TRANSIENT))
    assert not other.m.chosen


def test_second_never_becomes_primary_from_wait() -> None:
    bench = stopped()
    bench.command(Command.SECOND)
    bench.run_all()
    bench.hear(IDLE)
    bench.pass_time(2.0)
    assert not bench.m.claim
    bench.silence()
    bench.pass_time(3.0)
    assert bench.shown == (WAIT, NOT_READY)
    bench.command(Command.START)
    bench.hear(IDLE)
    assert bench.m.claim


def test_second_of_a_running_primary_is_refused_and_changes_nothing() -> None:
    bench = alone()
    bench.command(Command.SECOND)
    assert refused(bench)
    assert not bench.m.only_second


def test_a_refused_second_does_not_call_a_stop_off() -> None:
    bench = alone(spec=spec(kind=Kind.MIRROR))
    bench.command(Command.STOP)
    assert bench.m.run is not None
    bench.command(Command.PRIM)
    bench.run_all()
    assert bench.m.state in {STOP, WAIT}


def test_failover_off_survives_and_is_published() -> None:
    bench = second()
    bench.command(Command.FAILOVER_OFF)
    assert not bench.report.failover
    bench.command(Command.STOP)
    bench.run_all()
    bench.command(Command.START)
    assert not bench.report.failover
    bench.command(Command.FAILOVER_ON)
    assert bench.report.failover


def test_a_survivor_with_failover_off_waits_for_the_operator() -> None:
    bench = second(spec=spec(isolation=IsolationPolicy.AVAILABILITY))
    bench.command(Command.FAILOVER_OFF)
    bench.hear(replace(IDLE, epoch=1))
    bench.run_all()
    bench.pass_time(5.0)
    assert bench.shown == (WAIT, NOT_READY)
    assert "automatic failover is off" in bench.m.reason
    bench.command(Command.PRIM)
    assert bench.m.claim


def test_a_survivor_goes_on_when_failover_is_switched_on_again() -> None:
    bench = second()
    bench.command(Command.FAILOVER_OFF)
    bench.hear(replace(IDLE, epoch=1))
    bench.run_all()
    bench.hear(replace(IDLE, epoch=1, reason="stopped"))
    assert not bench.m.claim
    bench.command(Command.FAILOVER_ON)
    assert bench.m.claim


def test_every_answer_names_who_asked() -> None:
    for make in IN_STATE.values():
        bench = make()
        bench.command(Command.STOP)
        assert any(said.facts.get("by") == "test" for said in bench.explained())


def test_states_of_this_file_are_all_states() -> None:
    assert set(IN_STATE) == {str(state) for state in (STOP, WAIT, ALONE, PRIM, SECOND, UP)}
