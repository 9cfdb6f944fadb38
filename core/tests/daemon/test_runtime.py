"""Durable first, then published, then performed; and what is not on disk is not done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from safekit import engine
from safekit.daemon.calendar import Calendar
from safekit.daemon.recorder import Recorder
from safekit.daemon.runtime import FACTS_KEY, Runtime, _Pending
from safekit.engine import actions, events
from safekit.engine.spec import Kind, MembershipSpec, ModuleSpec
from safekit.journal import FactStore, History, Query


class Disk(FactStore):
    """A real store whose disk can be full."""

    full = False

    def save(self, key: str, value: bytes) -> None:
        if self.full:
            raise OSError("the node's state cannot be written: database or disk is full")
        super().save(key, value)


@dataclass
class Machine:
    runtime: Runtime
    disk: Disk
    history: History
    performed: list[actions.Action] = field(default_factory=list)

    def orders(self) -> list[str]:
        return [action.cause for action in self.performed if isinstance(action, actions.RunPipeline)]

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)


SPECS = (ModuleSpec("web", Kind.LIGHT, ("n1",)),)


@pytest_asyncio.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    performed: list[actions.Action] = []
    disk, history = Disk(tmp_path / "facts.db"), History(tmp_path / "history.db")
    recorder = Recorder(history, 1, lambda decision: None, lambda: None)
    made = Machine(Runtime("n1", disk, recorder, performed.append), disk, history, performed)
    loop = asyncio.create_task(made.runtime.commit())
    made.runtime.submit(events.Configured(MembershipSpec("n1", (), ("lan",)), SPECS))
    made.runtime.submit(events.Started(1, boot=True))
    await made.settle()
    yield made
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    made.runtime.close()
    history.close()
    disk.close()


def finish(machine: Machine, ok: bool = True) -> None:
    order = [action for action in machine.performed if isinstance(action, actions.RunPipeline)][-1]
    machine.runtime.submit(events.PipelineFinished("web", order.run, ok))


async def started(machine: Machine) -> None:
    """Cleaned up, and asked to start; the prestart is done."""
    machine.runtime.submit(events.HostReady("web"))
    await machine.settle()
    finish(machine)
    machine.runtime.submit(events.CommandGiven("web", events.Command.START, by="ada"))
    await machine.settle()
    machine.runtime.submit(events.HostReady("web"))
    await machine.settle()


async def test_what_was_wanted_is_on_disk_before_it_is_done(machine: Machine) -> None:
    await started(machine)
    assert machine.orders() == ["cleanup", "start"]
    kept = machine.disk.load(FACTS_KEY)
    assert kept is not None
    assert b'"desired":true' in kept


async def test_a_start_that_cannot_be_recorded_does_not_happen(machine: Machine) -> None:
    await started(machine)
    machine.disk.full = True
    finish(machine)
    await machine.settle()
    assert machine.orders().count("start") == 1
    assert "full" in machine.runtime.storage_trouble
    reports = dict(engine.reports(machine.runtime.node))
    assert reports["web"].state != "UP"


async def test_what_failed_to_be_saved_is_tried_again_before_what_it_led_to(machine: Machine) -> None:
    """Seed 100267: a start that waited for the peer's word came in a step that changed nothing durable."""
    await started(machine)
    finish(machine)
    await machine.settle()
    before = machine.disk.load(FACTS_KEY)
    machine.disk.full = True
    machine.runtime.submit(events.CommandGiven("web", events.Command.FAILOVER_OFF, by="ada"))
    await machine.settle()
    machine.runtime._pending.append(_late_start(machine))
    machine.runtime._wake.set()
    await machine.settle()
    assert machine.orders()[-1] != "late"
    assert machine.disk.load(FACTS_KEY) == before
    machine.disk.full = False
    machine.runtime._pending.append(_late_start(machine))
    machine.runtime._wake.set()
    await machine.settle()
    assert machine.orders()[-1] == "late"
    assert machine.disk.load(FACTS_KEY) != before


def _late_start(machine: Machine) -> _Pending:
    order = actions.RunPipeline("web", 99, (actions.Phase.START_PRIM,), "WAIT", "ALONE", "late", 1)
    return _Pending(machine.runtime.node, None, (order,))


async def test_it_goes_on_when_the_disk_has_room_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safekit.daemon.runtime.SAVE_AGAIN_S", 0.05)
    await started(machine)
    machine.disk.full = True
    finish(machine)
    await machine.settle()
    machine.disk.full = False
    for _ in range(100):
        await machine.settle()
        if not machine.runtime.storage_trouble:
            break
    assert machine.runtime.storage_trouble == ""


async def test_every_decision_is_in_the_history(machine: Machine) -> None:
    await started(machine)
    machine.history.flush()
    decisions = machine.history.query(Query("web", ("decision",)))
    assert decisions
    names = [found.type for found in machine.history.query(Query(kinds=("event",)))]
    assert {"Configured", "Started", "CommandGiven"} <= set(names)


async def test_work_of_the_calendar_that_fails_is_told() -> None:
    told: list[tuple[str, str]] = []
    calendar = Calendar(lambda job, error: told.append((job, error)))

    def fail() -> None:
        raise OSError("the disk is gone")

    calendar.add("history", "* * * * *", fail)
    calendar.start()
    job: Any = calendar._scheduler.get_job("history")
    job.modify(next_run_time=job.next_run_time.now(job.next_run_time.tzinfo))
    for _ in range(300):
        if told:
            break
        await asyncio.sleep(0.02)
    calendar.close()
    assert told == [("history", "the disk is gone")]
