"""Drives the engine: each event through `step`, what must be durable to disk, then the actions, in order."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from safekit import engine
from safekit.daemon.recorder import Recorder
from safekit.engine import events
from safekit.engine.actions import Action, Explain, FenceSelf, KillHost, Phase, RunPipeline
from safekit.engine.reports import Heartbeat, ModuleReport
from safekit.journal import FactStore
from safekit_sdk import InternalError

log = structlog.get_logger("runtime")
FACTS_KEY: Final = "engine"
MAX_PENDING: Final = 10_000
SAVE_AGAIN_S: Final = 5.0
STALLED_S: Final = 0.25
_FACTS: TypeAdapter[engine.Durable] = TypeAdapter(engine.Durable)
_AT_ONCE: Final = (KillHost, FenceSelf)
"""They only end what runs: a disk that hangs must not keep them waiting."""
_TAKES_UP: Final = frozenset({Phase.START_BOTH, Phase.START_PRIM, Phase.START_SECOND, Phase.STAND_ALONE})


@dataclass(frozen=True, slots=True)
class _Pending:
    node: engine.NodeState
    durable: engine.Durable | None
    actions: tuple[Action, ...]


class Runtime:
    def __init__(self, node: str, facts: FactStore, recorder: Recorder, perform: Callable[[Action], None]) -> None:
        self._facts = facts
        self._recorder = recorder
        self._perform = perform
        loaded = facts.load(FACTS_KEY)
        self.node = engine.restore(node, _FACTS.validate_json(loaded)) if loaded else engine.new_node(node)
        self._durable = engine.durable(self.node)
        self._published: tuple[tuple[str, ModuleReport], ...] = ()
        self._pending: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="facts")
        self._sequence = 0
        self._echoes: tuple[tuple[str, int, float], ...] = ()
        self._committing_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.storage_trouble = ""

    def submit(self, event: events.Event) -> tuple[Explain, ...]:
        """Give the engine one event now. Return what it explained; its actions follow once they may."""
        now_s = time.monotonic()
        before = self.node
        self.node, actions = engine.step(before, event, now_s)
        changed = bool(actions) or self.node.modules is not before.modules
        self._recorder.record(before, event, self.node, now_s, changed=changed)
        explained = tuple(action for action in actions if isinstance(action, Explain))
        for decision in explained:
            self._recorder.decided(decision, now_s)
        if changed:
            self._queue(actions)
        if changed or self._timer is None:
            self._set_timer(now_s)
        return explained

    def _queue(self, actions: tuple[Action, ...]) -> None:
        durable = engine.durable(self.node)
        changed = durable != self._durable
        self._durable = durable
        if len(self._pending) >= MAX_PENDING:
            raise InternalError("the disk has not taken the node's state for too long; the daemon ends")
        for action in actions:
            if isinstance(action, _AT_ONCE):
                asyncio.get_running_loop().call_soon(self._perform, action)
        later = tuple(action for action in actions if not isinstance(action, _AT_ONCE))
        self._pending.append(_Pending(self.node, durable if changed else None, later))
        self._wake.set()

    def _set_timer(self, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = engine.next_deadline(self.node)
        if due_s is not None:
            delay_s = max(due_s - now_s, 0.001)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._timer_rang)

    def _timer_rang(self) -> None:
        self._timer = None
        self.submit(events.TimePassed())

    async def commit(self) -> None:
        """Runs for ever: durable first, then published, then performed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                self._committing_s = time.monotonic()
                await self._commit_one(self._pending.popleft())
                self._committing_s = None

    async def _commit_one(self, item: _Pending) -> None:
        saved = await self._is_saved(item)
        self._published = engine.reports(item.node) if saved else self._unsaved(item.node)
        for action in item.actions:
            if not _takes_up(action):
                self._perform(action)
            elif not saved:
                self._refuse(action, f"the decision could not be recorded: {self.storage_trouble}")
            elif self._is_late(action):
                self._refuse(action, "the right to run ended while the decision was recorded")
            else:
                self._perform(action)

    async def _is_saved(self, item: _Pending) -> bool:
        """What failed to be saved before is tried again, with what was decided since."""
        if item.durable is None and not self.storage_trouble:
            return True
        return await self._save(item.durable or engine.durable(item.node))

    def _unsaved(self, node: engine.NodeState) -> tuple[tuple[str, ModuleReport], ...]:
        """The peer relies on it that what is said of who stood alone outlives this process."""
        noted = {name: (report.epoch, report.alone_epoch) for name, report in self._published}
        return tuple((name, _no_newer(report, *noted.get(name, (0, 0)))) for name, report in engine.reports(node))

    def _is_late(self, action: Action) -> bool:
        ends = dict(self.rights()).get(getattr(action, "module", ""))
        return ends is not None and time.monotonic() >= ends.stop_s

    def host_until_s(self, module: str) -> float | None:
        """When the module's host has to stop a primary by itself; None where no witness decides."""
        ends = dict(self.rights()).get(module)
        return ends.host_s if ends is not None and math.isfinite(ends.host_s) else None

    async def _save(self, durable: engine.Durable) -> bool:
        data = _FACTS.dump_json(durable)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._disk, self._facts.save, FACTS_KEY, data)
        except OSError as error:
            log.error("the node's state is not on disk", error=str(error))
            if not self.storage_trouble:
                loop.call_later(SAVE_AGAIN_S, self._save_again)
                self.storage_trouble = str(error)
                self.submit(events.StorageFailed(str(error)))
            return False
        if self.storage_trouble:
            self.storage_trouble = ""
            self.submit(events.StorageRecovered())
        return True

    def _save_again(self) -> None:
        task = asyncio.create_task(self._save(self._durable))
        task.add_done_callback(self._retry_later)

    def _retry_later(self, task: asyncio.Task[bool]) -> None:
        if not task.cancelled() and not task.result():
            asyncio.get_running_loop().call_later(SAVE_AGAIN_S, self._save_again)

    def _refuse(self, action: Action, why: str) -> None:
        """A start that is not on record, or comes too late, does not happen."""
        if isinstance(action, RunPipeline):
            reason = f"not started, because {why}"
            finished = events.PipelineFinished(action.module, action.run, ok=False, reason=reason)
            asyncio.get_running_loop().call_soon(self.submit, finished)

    def leases(self) -> tuple[tuple[str, float], ...]:
        """Those of the engine; none while a disk that hangs keeps what was decided from being done."""
        return () if self.disk_hangs_s() > STALLED_S else engine.leases(self.node)

    def disk_hangs_s(self) -> float:
        """For how long the disk has not taken what was decided."""
        return 0.0 if self._committing_s is None else time.monotonic() - self._committing_s

    def rights(self) -> tuple[tuple[str, engine.Limits], ...]:
        return engine.rights(self.node)

    def heartbeat(self) -> Heartbeat:
        """The next heartbeat, with what is published: never anything that is not on disk."""
        self._sequence += 1
        if not self._pending and self._committing_s is None:
            self._echoes = engine.echoes(self.node)
        return Heartbeat(
            node=self.node.name,
            incarnation=self._recorder.incarnation,
            sequence=self._sequence,
            modules=self._published,
            heard=engine.heard(self.node),
            time_s=time.monotonic(),
            echoes=self._echoes,
            lost_after_s=self.node.membership.spec.lost_after_s,
        )

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._disk.shutdown(wait=True, cancel_futures=True)


def _no_newer(report: ModuleReport, epoch: int, alone_epoch: int) -> ModuleReport:
    return replace(report, epoch=min(report.epoch, epoch), alone_epoch=min(report.alone_epoch, alone_epoch))


def _takes_up(action: Any) -> bool:
    return isinstance(action, RunPipeline) and bool(_TAKES_UP & set(action.phases))
