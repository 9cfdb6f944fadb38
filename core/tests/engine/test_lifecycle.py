"""The daemon starts, again or for the first time since boot; the configuration changes; the disk fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit import engine
from safekit.engine.actions import Phase, Publish, RunPipeline, StopHost
from safekit.engine.durable import ModuleFacts
from safekit.engine.events import (
    Command,
    CommandGiven,
    Configured,
    HeartbeatHeard,
    Started,
    StorageFailed,
    StorageRecovered,
)
from safekit.engine.module import LEAP
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import BootPolicy, Kind, ModuleSpec

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
    STOP,
    TRANSIENT,
    WAIT,
    Bench,
    alone,
    claiming,
    kinds,
    membership,
    only,
    phases_of,
    prim,
    second,
    spec,
    stopped,
    up,
    waiting,
)

WAS_RUNNING = engine.Durable((ModuleFacts(MODULE, epoch=7, was_primary=True, active=True, desired=True),))
WAS_STOPPED = engine.Durable((ModuleFacts(MODULE, epoch=7, was_primary=True),))


def configure(bench: Bench, *modules: ModuleSpec) -> None:
    bench.tell(Configured(membership(bench.name), modules))


def test_a_new_daemon_cleans_up_before_anything_else() -> None:
    bench = Bench(durable=WAS_RUNNING)
    assert bench.report.active
    assert bench.m.state is STOP
    assert phases_of(bench.host_ready()) == (Phase.CLEANUP,)
    assert bench.report.active
    bench.finish()
    assert not bench.report.active


def test_a_new_daemon_cleans_up_even_what_it_believes_stopped() -> None:
    bench = Bench()
    assert phases_of(bench.host_ready()) == (Phase.CLEANUP,)


def test_a_daemon_that_died_starts_what_was_started() -> None:
    bench = Bench(durable=WAS_RUNNING)
    bench.run_all()
    assert bench.m.state is WAIT
    assert bench.m.epoch == 7


def test_the_last_primary_is_first_after_a_restart_of_both() -> None:
    bench = Bench("b", durable=WAS_RUNNING)
    bench.run_all()
    bench.hear(replace(IDLE, state=WAIT, readiness=TRANSIENT, epoch=7))
    assert bench.m.claim


@pytest.mark.parametrize(
    ("policy", "boot", "before", "after"),
    [
        (BootPolicy.AUTO, True, True, True),
        (BootPolicy.AUTO, True, False, False),
        (BootPolicy.ON, True, False, True),
        (BootPolicy.OFF, True, True, False),
        (BootPolicy.ON, False, False, False),
        (BootPolicy.OFF, False, True, True),
    ],
)
def test_the_boot_policy_counts_at_boot_only(policy: BootPolicy, boot: bool, before: bool, after: bool) -> None:
    bench = Bench(spec=spec(boot=policy), durable=WAS_RUNNING if before else WAS_STOPPED, boot=boot)
    bench.run_all()
    assert (bench.m.state is WAIT) == after


def test_what_is_durable_comes_back_as_it_was() -> None:
    bench = alone()
    bench.command(Command.FAILOVER_OFF)
    facts = engine.durable(bench.node)
    assert facts.modules == (ModuleFacts(MODULE, 1, was_primary=True, active=True, desired=True, failover=False),)
    again = Bench(durable=facts, incarnation=2)
    assert engine.durable(again.node) == facts


def test_the_role_is_durable_in_the_step_that_starts_it() -> None:
    bench = claiming()
    actions = bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    assert only(RunPipeline, actions).epoch == 1
    facts = engine.durable(bench.node).modules[0]
    assert (facts.epoch, facts.active, facts.was_primary) == (1, True, True)


def test_nothing_happens_before_the_node_has_started() -> None:
    """A daemon that is told of heartbeats before it knows its past must not act on them."""
    node = engine.restore("a", WAS_RUNNING)
    node, _ = engine.step(node, Configured(membership("a"), (spec(),)), 1.0)
    node, actions = engine.step(node, HeartbeatHeard("net1", Heartbeat("b", 1, 1, ((MODULE, PRIMARY),))), 1.1)
    assert not any(isinstance(action, RunPipeline) for action in actions)
    assert node.modules[MODULE].state is STOP


def test_an_event_for_an_unknown_module_is_ignored() -> None:
    bench = stopped()
    before = bench.node
    assert bench.tell(CommandGiven("none", Command.START)) == ()
    assert bench.node is before


def test_a_changed_signature_is_taken_over_in_place() -> None:
    for bench in (alone(), prim(), second(), waiting()):
        before = bench.m.state
        configure(bench, replace(bench.spec, signature="2"))
        assert phases_of(bench.last) == (Phase.RECONFIGURE,)
        assert bench.shown == (before, TRANSIENT)
        bench.finish()
        assert bench.m.state is before
        assert bench.report.signature == "2"
        assert Publish in kinds(bench.last)


def test_the_same_configuration_again_changes_nothing() -> None:
    bench = alone()
    configure(bench, bench.spec)
    assert not bench.last


def test_a_changed_configuration_waits_for_the_end_of_a_run() -> None:
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    configure(bench, replace(bench.spec, signature="2"))
    assert not bench.orders(list(bench.last))
    assert phases_of(bench.finish()) == (Phase.RECONFIGURE,)


def test_a_configuration_that_changes_while_the_host_comes_up_is_not_missed() -> None:
    """The host may have been given the one before."""
    bench = stopped()
    bench.command(Command.START)
    assert bench.m.host.value == "starting"
    configure(bench, replace(bench.spec, signature="2"))
    bench.command(Command.STOP)
    bench.command(Command.START)
    configure(bench, replace(bench.spec, signature="3"))
    bench.run_all()
    assert bench.m.spec.signature == "3"


def test_a_reconfiguration_that_fails_stops_and_starts_again() -> None:
    bench = alone()
    configure(bench, replace(bench.spec, signature="2"))
    bench.finish(ok=False)
    assert bench.shown == (STOP, TRANSIENT)
    bench.run_all()
    bench.pass_time(0.2)
    assert bench.m.state is WAIT


def test_a_new_host_needs_no_reconfiguration() -> None:
    bench = alone()
    bench.command(Command.RESTART)
    configure(bench, replace(bench.spec, signature="2"))
    bench.host_lost()
    bench.pass_time(0.1)
    bench.run_all()
    assert not any(Phase.RECONFIGURE in order.phases for order in bench.orders())


def test_a_stopped_module_takes_a_configuration_without_a_host() -> None:
    bench = stopped()
    configure(bench, replace(bench.spec, signature="2"))
    assert not bench.last
    assert bench.report.signature == "2"


def test_a_module_whose_kind_or_nodes_change_is_stopped_and_started() -> None:
    for change in ({"kind": Kind.FARM}, {"nodes": ("a",)}):
        bench = prim()
        configure(bench, replace(bench.spec, signature="2", **change))  # type: ignore[arg-type]
        bench.run_all()
        bench.pass_time(0.5)
        bench.run_all()
        assert bench.m.readiness is READY
        assert bench.m.state is not PRIM


def test_a_removed_module_ends_its_host() -> None:
    bench = waiting()
    configure(bench)
    assert only(StopHost, bench.last).module == MODULE
    assert not bench.node.modules


def test_what_is_known_of_a_removed_module_is_kept() -> None:
    """Its epoch must not go back when it is installed again."""
    bench = alone()
    bench.command(Command.STOP)
    bench.run_all()
    configure(bench)
    assert engine.durable(bench.node).modules[0].epoch == 1
    configure(bench, bench.spec)
    assert bench.m.epoch == 1


def test_a_module_that_comes_back_is_cleaned_up_first() -> None:
    bench = alone()
    configure(bench)
    configure(bench, bench.spec)
    assert bench.report.active
    assert phases_of(bench.host_ready()) == (Phase.CLEANUP,)
    bench.finish()
    assert not bench.report.active


def test_a_second_module_does_not_disturb_the_first() -> None:
    bench = alone()
    before = bench.m
    configure(bench, bench.spec, replace(bench.spec, name="db"))
    assert bench.m == before
    assert set(bench.node.modules) == {MODULE, "db"}


def test_a_failed_disk_keeps_a_node_from_becoming_primary() -> None:
    bench = waiting()
    bench.tell(StorageFailed("disk full"))
    bench.hear(IDLE)
    assert not bench.m.claim
    assert bench.shown == (WAIT, NOT_READY)
    assert "disk full" in bench.m.reason
    bench.tell(StorageRecovered())
    assert bench.m.claim


def test_a_failed_disk_stops_no_primary() -> None:
    bench = prim()
    bench.tell(StorageFailed("disk full"))
    bench.pass_time(3.0)
    assert bench.shown == (PRIM, READY)


def test_a_start_that_could_not_be_recorded_is_a_failed_start() -> None:
    """The daemon refuses to perform it, and says so."""
    bench = claiming()
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.tell(StorageFailed("disk full"))
    bench.finish(ok=False)
    bench.run_all()
    bench.pass_time(1.0)
    bench.run_all()
    assert bench.shown == (WAIT, NOT_READY)
    assert not bench.report.active


def test_a_boot_of_a_farm_runs_it_whatever_others_do() -> None:
    bench = Bench(spec=spec(kind=Kind.FARM), durable=WAS_RUNNING, boot=True)
    bench.run_all()
    assert bench.report.active
    assert bench.m.epoch == 8


def test_a_farm_does_not_doubt_itself() -> None:
    """Nobody takes its role over, and nobody would ever clear the doubt."""
    bench = up()
    bench.sleep(20.0)
    assert not bench.report.doubtful
    assert bench.m.readiness is READY


def test_an_epoch_grows_with_each_primary_and_is_learned_from_the_other() -> None:
    bench = second(spec=AVAILABILITY)
    assert bench.m.epoch == 1
    bench.hear(replace(PRIMARY, state=PRIM, epoch=5))
    assert bench.m.epoch == 5
    bench.silence()
    bench.pass_time(1.5)
    assert bench.m.epoch == 5 + LEAP
    assert bench.m.was_primary


def test_a_node_is_not_the_last_primary_any_more_when_it_hears_of_a_later_one() -> None:
    bench = alone()
    bench.command(Command.STOP)
    bench.run_all()
    assert bench.report.was_primary
    bench.hear(replace(PRIMARY, epoch=2))
    assert not bench.report.was_primary
    assert bench.m.state is STOP


def test_an_active_node_keeps_its_epoch_until_it_has_stopped() -> None:
    bench = alone()
    bench.hear(replace(PRIMARY, state=SECOND, epoch=9, active=True))
    assert bench.m.epoch == 1
    assert bench.m.state is ALONE


def test_started_twice_is_a_new_incarnation() -> None:
    bench = alone()
    bench.tell(Started(2, boot=False))
    assert bench.node.incarnation == 2
    assert bench.report.active
