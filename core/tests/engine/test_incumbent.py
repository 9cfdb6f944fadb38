"""Under safety a primary that fails while the other is silent may run again: nobody else can have become primary."""

from __future__ import annotations

from dataclasses import replace

from safekit import engine
from safekit.engine.events import Command
from safekit.engine.module import LEAP

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
    WAIT,
    WAITING,
    Bench,
    alone,
    prim,
    rule,
    second,
    spec,
)


def left_alone() -> Bench:
    """ALONE Ready, the other node silent for long."""
    bench = prim(spec=spec(rules=(rule("wait"),)))
    bench.silence()
    bench.pass_time(2.0)
    bench.run_all()
    assert bench.shown == (ALONE, READY)
    return bench


def rest(bench: Bench) -> None:
    for _ in range(10):
        bench.run_all()
        bench.pass_time(1.0)


def test_a_lone_primary_whose_host_is_lost_runs_again() -> None:
    bench = left_alone()
    bench.host_lost()
    rest(bench)
    assert bench.shown == (ALONE, READY)
    assert bench.m.epoch == 1 + LEAP


def test_a_lone_primary_whose_restart_fails_runs_again() -> None:
    bench = left_alone()
    bench.command(Command.RESTART)
    bench.finish(ok=False)
    rest(bench)
    assert bench.shown == (ALONE, READY)


def test_a_lone_primary_that_a_rule_sent_to_wait_runs_again() -> None:
    bench = left_alone()
    bench.verdict("http.home", "down")
    bench.run_all()
    assert bench.shown[0] is WAIT
    bench.verdict("http.home", "up")
    rest(bench)
    assert bench.shown == (ALONE, READY)


def test_a_lone_primary_that_the_operator_stopped_asks_before_it_runs_again() -> None:
    """Meanwhile he may have said `prim` on the other node."""
    bench = left_alone()
    bench.command(Command.STOP)
    bench.run_all()
    bench.command(Command.START)
    rest(bench)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_primary_that_has_acknowledged_a_claim_is_not_the_incumbent() -> None:
    bench = left_alone()
    bench.hear(replace(SECONDARY, claim=7))
    bench.silence()
    bench.pass_time(2.0)
    bench.run_all()
    bench.host_lost()
    rest(bench)
    assert bench.report.acknowledged == 7
    assert bench.shown == (WAIT, NOT_READY)


def test_a_primary_that_handed_over_is_not_the_incumbent() -> None:
    bench = prim()
    bench.command(Command.SWAP)
    bench.run_all()
    bench.hear(SECONDARY)
    bench.silence()
    rest(bench)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_node_that_heard_of_another_primary_is_not_the_incumbent() -> None:
    bench = left_alone()
    bench.host_lost()
    bench.pass_time(0.1)
    bench.host_ready()
    bench.hear(replace(PRIMARY, epoch=5))
    bench.silence()
    rest(bench)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_node_that_slept_while_it_was_not_primary_is_not_the_incumbent() -> None:
    bench = left_alone()
    bench.host_lost()
    bench.sleep(600.0)
    rest(bench)
    assert bench.shown == (WAIT, NOT_READY)


def test_a_new_daemon_is_not_the_incumbent() -> None:
    """Nobody knows what happened while it was away."""
    bench = left_alone()
    again = Bench(durable=engine.durable(bench.node), incarnation=2)
    again.run_all()
    rest(again)
    assert again.shown == (WAIT, NOT_READY)


def test_a_secondary_is_not_the_incumbent() -> None:
    bench = second()
    bench.silence()
    rest(bench)
    assert bench.shown == (WAIT, NOT_READY)


def test_the_loser_of_two_primaries_is_not_the_incumbent() -> None:
    bench = alone()
    bench.hear(replace(PRIMARY, epoch=5))
    assert bench.m.state is WAIT
    bench.finish()
    bench.silence()
    rest(bench)
    assert not bench.report.active


def test_nobody_waits_for_a_node_whose_peer_is_primary_or_silent_or_idle() -> None:
    assert engine.awaited(prim().node) == ()
    for report in (PRIMARY, IDLE, WAITING):
        bench = prim()
        bench.command(Command.SHUTDOWN)
        bench.run_all()
        bench.hear(report)
        assert engine.awaited(bench.node) == ()


def test_a_secondary_that_is_to_take_over_waits_for_the_word_of_the_node_that_stops() -> None:
    bench = prim()
    bench.command(Command.SHUTDOWN)
    bench.run_all()
    assert bench.m.state is STOP
    assert engine.awaited(bench.node) == ("web",)
    bench.hear(replace(SECONDARY, claim=3))
    assert engine.awaited(bench.node) == ("web",)
    bench.hear(replace(PRIMARY, state=ALONE, epoch=2, acknowledged=0))
    assert engine.awaited(bench.node) == ()
    assert bench.m.state is not PRIM
    assert bench.m.state is not SECOND
