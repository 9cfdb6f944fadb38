"""safekitd as the runtime drives it: events through the engine, durable facts to disk, only then the actions."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from safekit import engine
from safekit.engine import events
from safekit.engine.actions import (
    Action,
    AskWitness,
    Explain,
    FenceSelf,
    KillHost,
    Meet,
    Phase,
    Publish,
    RunPipeline,
    StartHost,
    StopHost,
    TakeShare,
)
from safekit.engine.reports import Heartbeat, ModuleReport
from safekit.engine.spec import Kind
from safekit.simulation.host import Host
from safekit.simulation.scenario import MODULE
from safekit.simulation.schedule import Process

if TYPE_CHECKING:
    from safekit.simulation.machine import Machine

TAKES_UP: Final = frozenset({Phase.START_BOTH, Phase.START_PRIM, Phase.START_SEC, Phase.START_SECOND})
SAVE_AGAIN_S: Final = 5.0
STALLED_S: Final = 0.25
HOST_SILENT_S: Final = 5.0
KILL_S: Final = 0.02
AT_ONCE: Final = (KillHost, FenceSelf)
LEASE_PART: Final = 0.2
SHORTEST_SILENCE_S: Final = 1.5

Pending = tuple[engine.NodeState, engine.Durable | None, tuple[Action, ...]]


class Daemon(Process):
    def __init__(self, machine: Machine, *, boot: bool) -> None:
        super().__init__(machine.schedule)
        self.machine = machine
        self.incarnation = machine.incarnation
        self.node = engine.restore(machine.name, machine.disk) if machine.disk else engine.new_node(machine.name)
        self.started_s = self.schedule.now_s
        self.published: tuple[tuple[str, ModuleReport], ...] = ()
        self._echoes: tuple[tuple[str, int, float], ...] = ()
        self._durable = engine.durable(self.node)
        self._pending: deque[Pending] = deque()
        self._saving = False
        self._sequence = 0
        self._committing_s = math.inf
        """Since when the save that is under way takes."""
        self._timer = 0
        self._rings = False
        self._trouble = ""
        self._next_tick_s = machine.local_s()
        self._extends = machine.module.kind is Kind.FARM or machine.module.witness is not None
        """There is something that this node may go on doing only because others hear it."""
        self.host: Host | None = None
        self.submit(events.Configured(machine.membership(), machine.modules()))
        self.submit(events.Started(self.incarnation, boot=boot))
        self._tick()

    def submit(self, event: events.Event) -> None:
        before = self.node
        self.node, actions = engine.step(before, event, self.machine.local_s())
        if actions or self.node.modules is not before.modules:
            self.machine.watch.decided(self, before, event, actions)
            self._queue(actions)
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer += 1
        due_s = engine.next_deadline(self.node)
        self._rings = due_s is not None
        if due_s is not None:
            delay_s = max(due_s - self.machine.local_s(), 0.001)
            self._later_local(delay_s, partial(self._rang, self._timer))

    def _later_local(self, delay_s: float, work: Any) -> None:
        self.later(delay_s / self.machine.rate, work)

    def _rang(self, timer: int) -> None:
        if timer == self._timer:
            self._rings = False
            self._let_time_pass()

    def _let_time_pass(self) -> None:
        self.submit(events.TimePassed())
        if not self._rings:
            self._set_timer()

    def _tick(self) -> None:
        """The pace: one TimePassed and one heartbeat per interval."""
        now_s = self.machine.local_s()
        self._next_tick_s = max(self._next_tick_s + self.machine.timing.interval_s, now_s)
        self._let_time_pass()
        self.beat()
        if self._extends:
            self._extend_leases()
        self._later_local(self._next_tick_s - now_s, self._tick)

    def beat(self) -> None:
        self._sequence += 1
        lost_after_s = self.node.membership.spec.lost_after_s
        if not self._pending and not self._saving:
            self._echoes = engine.echoes(self.node)
        beat = Heartbeat(
            node=self.machine.name,
            incarnation=self.incarnation,
            sequence=self._sequence,
            modules=self.published,
            heard=engine.heard(self.node),
            time_s=self.machine.local_s(),
            echoes=self._echoes,
            lost_after_s=lost_after_s,
        )
        self.machine.network.send(self.machine.name, beat)

    def _extend_leases(self) -> None:
        """None while a disk that hangs keeps what was decided from being done."""
        stalled = self._saving and self.machine.local_s() - self._committing_s > STALLED_S
        for _, until_s in () if stalled else engine.leases(self.node):
            if self.host is not None:
                self.host.deliver(partial(self.host.extend_lease, until_s))
        self.machine.feed_watchdog(engine.rights(self.node))

    def _queue(self, actions: tuple[Action, ...]) -> None:
        durable = engine.durable(self.node)
        changed = durable != self._durable
        self._durable = durable
        for action in actions:
            if isinstance(action, AT_ONCE):
                self.later(0.0, partial(self._perform, action))
        later = tuple(action for action in actions if not isinstance(action, AT_ONCE))
        self._pending.append((self.node, durable if changed else None, later))
        self._commit()

    def _commit(self) -> None:
        """One after the other: what an action leads to waits until the others were performed."""
        while self._pending and not self._saving:
            node, durable, actions = self._pending.popleft()
            self._saving = True
            if durable is None and not self._trouble:
                self._perform_all(node, actions, saved=True)
                self._saving = False
            else:
                self._committing_s = self.machine.local_s()
                work = partial(self._saved, node, durable or engine.durable(node), actions)
                self.later(self.machine.save_delay_s(), work)

    def _saved(self, node: engine.NodeState, durable: engine.Durable, actions: tuple[Action, ...]) -> None:
        if self.machine.crashes_between(durable):
            return
        self._perform_all(node, actions, saved=self._save(durable))
        self._saving, self._committing_s = False, math.inf
        self._commit()

    def _save(self, durable: engine.Durable) -> bool:
        if self.machine.save(durable):
            if self._trouble:
                self._trouble = ""
                self.submit(events.StorageRecovered())
            return True
        if not self._trouble:
            self._trouble = "no space left on device"
            self.later(SAVE_AGAIN_S, self._save_again)
            self.submit(events.StorageFailed(self._trouble))
        return False

    def _save_again(self) -> None:
        if self._trouble and not self._save(self._durable):
            self.later(SAVE_AGAIN_S, self._save_again)

    def _perform_all(self, node: engine.NodeState, actions: tuple[Action, ...], *, saved: bool) -> None:
        self.published = engine.reports(node) if saved else self._unsaved(node)
        self.machine.watch.published(self)
        for action in actions:
            if not _takes_up(action):
                self._perform(action)
            elif isinstance(action, RunPipeline) and not saved:
                self._refuse(action, "the decision could not be recorded")
            elif isinstance(action, RunPipeline) and self.machine.local_s() >= self._ends().stop_s:
                self._refuse(action, "the right to run ended while the decision was recorded")
            else:
                self._perform(action)

    def _unsaved(self, node: engine.NodeState) -> tuple[tuple[str, ModuleReport], ...]:
        noted = {name: report.alone_epoch for name, report in self.published}
        reports = engine.reports(node)
        return tuple((name, replace(r, alone_epoch=min(r.alone_epoch, noted.get(name, 0)))) for name, r in reports)

    def _ends(self) -> engine.Limits:
        return dict(engine.rights(self.node)).get(MODULE, engine.Limits())

    def _refuse(self, order: RunPipeline, why: str) -> None:
        finished = events.PipelineFinished(MODULE, order.run, ok=False, reason=f"not started, because {why}")
        self.machine.watch.answered(self.machine, order, ok=False)
        self.later(0.0, partial(self.submit, finished))

    def _perform(self, action: Action) -> None:
        match action:
            case RunPipeline():
                self._run(action)
            case StartHost():
                self._start_host()
            case StopHost():
                self._end_host()
            case TakeShare():
                self._take_share(action)
            case AskWitness():
                self._ask_witness(action)
            case FenceSelf():
                self.machine.reset(action.reason)
            case KillHost():
                self.kill_host(action.reason)
            case Publish():
                self.beat()
            case Explain() | Meet():
                pass

    def _run(self, order: RunPipeline) -> None:
        self.machine.watch.ordered(self, order)
        if self.host is None:
            self.submit(events.HostLost(MODULE, "the host cannot be reached"))
        else:
            until_s = math.inf if order.force else self._ends().host_s
            self.host.deliver(partial(self.host.run, order, until_s))

    def _take_share(self, order: TakeShare) -> None:
        self.machine.watch.farm.share_ordered(self.machine)
        if self.host is None:
            self.submit(events.HostLost(MODULE, "the host cannot be reached"))
        else:
            self.host.deliver(partial(self.host.take_share, order))

    def _ask_witness(self, asked: AskWitness) -> None:
        if self.host is None:
            self.submit(events.WitnessAnswered(MODULE, asked.number, reached=False, text="there is no host"))
        else:
            self.host.deliver(partial(self.host.ask_witness, asked))

    def _start_host(self) -> None:
        if self.host is None:
            self.host = self.machine.host = Host(self.machine, self)
            delay_s = self.machine.rng.uniform(0.05, 0.3)
            self.later(delay_s, partial(self.told, self.host, events.HostReady(MODULE)))

    def _end_host(self) -> None:
        if self.host is not None:
            self.host.end()
            self.host = self.machine.host = None

    def kill_host(self, why: str) -> None:
        """What it had started goes on running."""
        if self.host is None:
            self.submit(events.HostLost(MODULE, why))
        else:
            self.host.kill()
            self.later(KILL_S, partial(self.lost, self.host, why))

    def judge_host(self, host: Host) -> None:
        """One that says nothing is killed; not on the ground of what this daemon did not hear while it slept."""
        if self.host is not host or not host.frozen:
            return
        if self.schedule.now_s - self.machine.thawed_s < self.host_silent_s:
            self.later(self.host_silent_s, partial(self.judge_host, host))
        else:
            self.kill_host(f"the host was silent for {self.host_silent_s:g} s")

    @property
    def host_silent_s(self) -> float:
        """One that stands still cannot stop what has to be stopped before a lease ends."""
        witness = self.machine.module.witness
        shortest_s = math.inf if witness is None else max(LEASE_PART * witness.lease_s, SHORTEST_SILENCE_S)
        return min(HOST_SILENT_S, shortest_s)

    def told(self, host: Host, event: Any) -> None:
        if host.alive:
            self.deliver(partial(self._told, host, event))

    def _told(self, host: Host, event: Any) -> None:
        if self.host is host:
            self.submit(event)

    def lost(self, host: Host, why: str) -> None:
        self.deliver(partial(self._lost, host, why))

    def _lost(self, host: Host, why: str) -> None:
        if self.host is host:
            self.host = None
            self.submit(events.HostLost(MODULE, why))

    @property
    def idle(self) -> bool:
        report = dict(self.published).get(MODULE)
        return report is not None and report.state == "STOP" and not report.active and report.readiness != "Transient"


def _takes_up(action: Action) -> bool:
    return isinstance(action, RunPipeline) and bool(TAKES_UP & set(action.phases))
