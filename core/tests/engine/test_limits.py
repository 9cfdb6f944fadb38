"""What fails, hangs, dies or does not stop: every run ends, and nothing is tried for ever at full speed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from safekit.engine.actions import Explain, KillHost, Phase, RunPipeline, StartHost
from safekit.engine.events import Command, HostLost, PipelineFinished
from safekit.engine.spec import Kind

from .kit import (
    ALONE,
    IDLE,
    MODULE,
    NOT_READY,
    PRIM,
    PRIMARY,
    READY,
    SECOND,
    STOP,
    TRANSIENT,
    WAIT,
    Bench,
    alone,
    claiming,
    kinds,
    only,
    phases_of,
    prim,
    rule,
    second,
    spec,
    stopped,
    up,
    waiting,
)


def starting() -> Bench:
    """ALONE Transient, its start under way."""
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.hear(IDLE)
    assert bench.shown == (ALONE, TRANSIENT)
    return bench


def fail_start(bench: Bench) -> None:
    """The start under way fails, what it had begun is stopped, and it is started again if it may be."""
    bench.finish(ok=False)
    bench.finish()
    bench.pass_time(0.1)


def test_a_failed_start_is_followed_by_a_stop() -> None:
    bench = starting()
    assert phases_of(bench.finish(ok=False)) == (
        Phase.STOP_SEC,
        Phase.STOP_PRIM,
        Phase.STOP_BOTH,
        Phase.POSTSTOP,
        Phase.TRANSITION,
    )
    assert bench.shown == (STOP, TRANSIENT)
    assert bench.report.active
    assert "apache" in bench.m.reason


def test_a_failed_start_is_tried_again_later_and_later() -> None:
    bench = starting()
    pauses = []
    for _ in range(3):
        bench.finish(ok=False)
        bench.finish()
        began_s = bench.now_s
        while bench.m.state is STOP:
            bench.pass_time(0.1)
            if bench.m.host.value == "starting":
                bench.host_ready()
        pauses.append(round(bench.now_s - began_s, 1))
        bench.run_all()
        bench.hear(IDLE)
        bench.hear(replace(IDLE, acknowledged=bench.m.claim))
        bench.hear(IDLE)
    assert pauses[0] < pauses[1] < pauses[2]
    assert bench.shown == (ALONE, TRANSIENT)
    bench.finish(ok=False)
    bench.run_all()
    bench.pass_time(100.0)
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.m.desired


def test_an_operators_command_resets_the_count() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),)))
    for _ in range(6):
        bench.verdict("http.home", "down")
        bench.verdict("http.home", "init")
        bench.finish()
        assert bench.shown == (ALONE, READY)
        bench.command(Command.START)
        assert not bench.m.loops


def test_restarts_outside_the_interval_do_not_count() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),), loop_interval_s=5.0))
    for _ in range(8):
        bench.verdict("http.home", "down")
        bench.verdict("http.home", "init")
        bench.finish()
        assert bench.shown == (ALONE, READY)
        bench.pass_time(3.0)


def test_an_interval_of_zero_switches_the_limit_off() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),), loop_interval_s=0.0))
    for _ in range(8):
        bench.verdict("http.home", "down")
        bench.verdict("http.home", "init")
        bench.finish()
    assert bench.shown == (ALONE, READY)
    assert len(bench.m.loops) <= 1


def test_a_run_past_its_bound_kills_the_host_once() -> None:
    bench = starting()
    actions = bench.pass_time(29.0)
    assert KillHost not in kinds(actions)
    actions = bench.pass_time(3.0)
    assert len([a for a in actions if isinstance(a, KillHost)]) == 1
    assert bench.report.active


def test_a_late_answer_of_a_killed_host_is_taken_and_its_loss_cleaned_up() -> None:
    bench = starting()
    bench.pass_time(32.0)
    bench.finish()
    assert bench.shown == (ALONE, READY)
    bench.host_lost("killed")
    assert bench.shown == (WAIT, TRANSIENT)
    assert bench.report.active


def test_an_answer_to_another_run_is_not_one() -> None:
    bench = starting()
    bench.finish(run=99)
    assert bench.shown == (ALONE, TRANSIENT)


@pytest.mark.parametrize("make", [waiting, alone, prim, second, up])
def test_a_lost_host_is_replaced_and_everything_stopped_by_force_before_it_goes_on(make: object) -> None:
    bench: Bench = make()  # type: ignore[operator]
    was_active = bench.report.active
    bench.host_lost()
    assert bench.shown == (WAIT, TRANSIENT)
    assert bench.report.active is was_active
    bench.pass_time(0.1)
    assert bench.m.host.value == "starting"
    order = only(RunPipeline, bench.host_ready())
    assert order.phases == (Phase.CLEANUP,)
    assert order.force
    assert bench.report.active is was_active
    bench.finish()
    assert not bench.report.active or bench.m.spec.kind is Kind.FARM
    bench.run_all()
    bench.pass_time(3.0)
    assert bench.m.state is not STOP


def test_a_lost_host_of_a_stopped_module_is_nothing() -> None:
    bench = stopped()
    assert not bench.host_lost()
    assert bench.shown == (STOP, NOT_READY)


def test_a_host_lost_while_it_stops_is_cleaned_up_and_stays_stopped() -> None:
    bench = alone()
    bench.command(Command.STOP)
    bench.host_lost()
    assert bench.shown == (STOP, TRANSIENT)
    assert bench.report.active
    bench.pass_time(0.1)
    bench.run_all()
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.report.active


def test_hosts_that_are_lost_too_often_stop_the_module() -> None:
    bench = up()
    for _ in range(4):
        bench.host_lost()
        bench.pass_time(70.0)
        bench.run_all()
    bench.pass_time(70.0)
    bench.run_all()
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.m.desired
    assert not bench.report.active


def test_a_host_that_never_comes_up_is_tried_with_pauses() -> None:
    bench = Bench()
    begins: list[float] = []
    for _ in range(600):
        if StartHost in kinds(bench.last):
            begins.append(bench.now_s)
        if bench.m.host.value == "starting":
            bench.tell(HostLost(MODULE, "no module named x"))
        bench.pass_time(0.1)
    assert 3 <= len(begins) <= 12
    assert begins[-1] - begins[-2] > begins[2] - begins[1]


def stuck() -> Bench:
    """ALONE, told to stop, and something does not stop."""
    bench = alone()
    bench.command(Command.STOP)
    bench.finish(ok=False, stuck=True)
    return bench


def test_a_stop_that_does_not_end_keeps_the_other_from_taking_over() -> None:
    bench = stuck()
    assert bench.report.active
    assert phases_of(bench.last) == (Phase.CLEANUP,)
    alarm = next(said for said in bench.explained() if said.rule == "stuck")
    assert alarm.severity == "alarm"
    assert "apache" in alarm.decision


def test_a_stuck_stop_is_cleaned_up_again_and_again_with_pauses() -> None:
    bench = stuck()
    begins: list[float] = []
    for _ in range(800):
        if bench.m.run is not None:
            begins.append(bench.now_s)
            bench.finish(ok=False, stuck=True)
            assert bench.report.active
        bench.pass_time(0.1)
    pauses = [round(b - a) for a, b in itertools.pairwise(begins)]
    assert pauses[:4] == [1, 2, 5, 10]
    assert all(pause >= 10 for pause in pauses[4:])


def test_a_stuck_stop_that_ends_at_last_goes_on_by_itself() -> None:
    bench = stuck()
    bench.pass_time(0.1)
    bench.finish()
    assert not bench.report.active
    assert bench.shown == (STOP, NOT_READY)
    bench.command(Command.START)
    bench.run_all()
    assert bench.m.state is WAIT


def test_a_module_that_is_to_run_waits_while_something_is_stuck() -> None:
    bench = alone()
    bench.command(Command.STOPSTART)
    bench.finish(ok=False, stuck=True)
    bench.finish(ok=False, stuck=True)
    assert bench.shown == (WAIT, NOT_READY)
    assert bench.report.active
    bench.command(Command.START)
    assert bench.report.active
    assert bench.m.cleanup
    assert bench.m.run is None


def test_a_stop_that_the_host_did_not_even_begin_stopped_nothing() -> None:
    """`no configuration is loaded`, `a run is still under way`: not ok, and not stuck."""
    bench = alone()
    bench.command(Command.STOP)
    assert bench.m.run is not None
    bench.tell(PipelineFinished(MODULE, bench.m.run.number, ok=False, reason="a run is still under way"))
    assert bench.report.active
    assert bench.m.cleanup


def test_a_failed_start_that_cannot_be_undone_counts_as_a_restart() -> None:
    bench = starting()
    for _ in range(4):
        bench.finish(ok=False, stuck=True)
        assert bench.report.active
        bench.pass_time(15.0)
        bench.run_all()
        bench.pass_time(15.0)
        bench.run_all()
        if bench.m.claim:
            bench.hear(replace(IDLE, acknowledged=bench.m.claim))
            bench.hear(IDLE)
    bench.pass_time(60.0)
    bench.run_all()
    assert bench.shown == (STOP, NOT_READY)


def test_a_secondary_that_fails_to_start_stops_and_tries_again() -> None:
    bench = waiting()
    bench.hear(PRIMARY)
    bench.finish(ok=False)
    bench.finish()
    bench.run_all()
    bench.pass_time(0.2)
    assert bench.m.state is SECOND
    assert len(bench.m.loops) == 1


def test_a_prim_whose_restart_fails_stops_and_lets_the_other_take_over() -> None:
    bench = prim()
    bench.command(Command.RESTART)
    bench.finish(ok=False)
    assert bench.shown == (STOP, TRANSIENT)
    bench.finish()
    assert not bench.report.active


def test_a_prestart_that_fails_is_counted_too() -> None:
    bench = stopped()
    bench.command(Command.START)
    bench.host_ready()
    for _ in range(4):
        bench.finish(ok=False)
        bench.finish()
        bench.pass_time(30.0)
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.m.desired


def test_a_pause_says_what_it_is() -> None:
    bench = starting()
    for _ in range(2):
        bench.finish(ok=False)
        bench.run_all()
        bench.hear(IDLE)
        if bench.m.claim:
            bench.hear(replace(IDLE, acknowledged=bench.m.claim))
            bench.hear(IDLE)
    assert bench.m.readiness is NOT_READY
    assert "restart 2" in bench.m.reason
    assert not bench.pass_time(0.3)


def test_everything_that_is_explained_is_a_sentence_with_a_rule() -> None:
    for bench in (stuck(), starting(), prim(), second(), up()):
        for said in bench.all:
            if isinstance(said, Explain):
                assert said.decision
                assert said.rule
                assert said.severity in {"info", "warning", "alarm"}


def test_a_killed_host_whose_module_still_runs_is_prim_no_more() -> None:
    bench = prim()
    bench.command(Command.RESTART)
    bench.pass_time(32.0)
    bench.host_lost("hung")
    assert bench.m.state is WAIT
    assert bench.m.state is not PRIM
    assert bench.report.active
    assert bench.report.readiness is not READY
