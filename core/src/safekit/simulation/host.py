"""A module's host: it walks the phases, and its resources are on or off on the machine, whoever believes what."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from safekit.engine.actions import AskWitness, Phase, RunPipeline, TakeShare
from safekit.engine.commands import NOT_CHECKED
from safekit.engine.events import PipelineFinished, ShareTaken, VerdictChanged, WitnessAnswered
from safekit.engine.spec import Kind
from safekit.simulation.replication import Replication
from safekit.simulation.scenario import MODULE
from safekit.simulation.schedule import Process

if TYPE_CHECKING:
    from safekit.simulation.daemon import Daemon
    from safekit.simulation.machine import Machine

STARTS: Final = frozenset(
    {Phase.PRESTART, Phase.START_BOTH, Phase.START_PRIM, Phase.START_SECOND, Phase.START_SEC, Phase.RESTART}
)
STOPS: Final = frozenset(
    {Phase.POSTSTOP, Phase.STOP_BOTH, Phase.STOP_PRIM, Phase.STOP_SECOND, Phase.STOP_SEC, Phase.CLEANUP}
)
NEW_RULES: Final = frozenset({Phase.START_BOTH, Phase.STOP_BOTH, Phase.CLEANUP, Phase.RECONFIGURE})
"""After these the kernel accepts nothing of a farm."""
FORCED: Final = 0.3
"""What a phase by force takes of the time of another."""
CHECKED_AFTER_S: Final = 0.3


class Host(Process):
    def __init__(self, machine: Machine, daemon: Daemon) -> None:
        super().__init__(machine.schedule)
        self.machine = machine
        self.daemon = daemon
        self.order: RunPipeline | None = None
        self._began_primary = False
        self._stuck = False
        self._serial = 0
        """Grows when what is under way is broken off."""
        self._checks = False
        self._right_until_s = math.inf
        """Until when the daemon lets a primary run that a witness decides on."""
        self._asked: AskWitness | None = None
        """What the witness is asked now; of several that wait only the last one counts."""
        self._to_ask: AskWitness | None = None
        self._replication = Replication(self)
        self._rules = False
        """It has started what makes the kernel accept clients."""

    def run(self, order: RunPipeline, until_s: float) -> None:
        if self.order is not None:
            self.say(PipelineFinished(MODULE, order.run, ok=False, reason="a run is still under way"))
            return
        self.order = order
        if math.isfinite(until_s):
            self._extend_right(until_s)
        self._began_primary = self._stuck = False
        if self.machine.ills.take("hanging_runs"):
            self.machine.note(f"run {order.run} hangs")
            return
        self._next(order, 0)

    def take_share(self, order: TakeShare) -> None:
        """One change of the kernel's rules."""
        if self.machine.ills.take("lost_shares"):
            failed = ShareTaken(MODULE, order.number, ok=False, reason="the rules could not be changed")
            self.later(self.machine.rng.uniform(0.0, 0.01), partial(self.say, failed))
        else:
            self.later(self.machine.rng.uniform(0.0005, 0.005), partial(self._accept, order))

    def _accept(self, order: TakeShare) -> None:
        """A host whose resource is not started has nothing to change, and says so as well as it does."""
        if self._rules:
            self.machine.accept(order.held)
        self.say(ShareTaken(MODULE, order.number, ok=True))

    def extend_lease(self, until_s: float) -> None:
        if self._rules and self.machine.scenario.module.kind is Kind.FARM:
            self.machine.extend_lease(until_s)
        if self.machine.scenario.module.witness is not None:
            self._extend_right(until_s)

    def _extend_right(self, until_s: float) -> None:
        """What has ended when it is heard ends at once."""
        self._right_until_s = until_s
        if math.isfinite(until_s):
            delay_s = max(until_s - self.machine.local_s(), 0.0) / self.machine.rate
            self.later(delay_s, partial(self._right_ends, until_s))

    def _right_ends(self, until_s: float) -> None:
        stops = self.order is not None and self.order.force
        if self._right_until_s == until_s and (self.machine.primary or self.order is not None) and not stops:
            self.orphan("its right to run ends, and the daemon says nothing")

    def ask_witness(self, asked: AskWitness) -> None:
        self._to_ask = asked
        if self._asked is None:
            self._ask_next()

    def _ask_next(self) -> None:
        self._asked, self._to_ask = self._to_ask, None
        witness = self.machine.witness
        if self._asked is not None and witness is not None:
            witness.ask(self.machine.name, self._asked, lambda answer: self.deliver(partial(self._answered, answer)))

    def _answered(self, answer: WitnessAnswered) -> None:
        """It goes to the daemon that this host belongs to."""
        self.say(answer)
        self._ask_next()

    def end(self) -> None:
        """What still waits to be asked, a release above all, is asked."""
        if self._to_ask is not None and not self.frozen:
            self._asked = None
            self._ask_next()
        self.kill()

    def _next(self, order: RunPipeline, index: int) -> None:
        if index == len(order.phases):
            self._answer(order, ok=not self._stuck)
            return
        phase = order.phases[index]
        self._begin(phase)
        self._in_a_while(partial(self._end, order, index))

    def _in_a_while(self, work: object) -> None:
        machine = self.machine
        delay_s = machine.rng.uniform(0.1, 1.0) * machine.scenario.phase_s
        if machine.scenario.module.witness is not None and (self.order is None or self.order.force):
            delay_s *= FORCED
        self.later(delay_s, partial(self._unless_broken_off, self._serial, work))

    def _unless_broken_off(self, serial: int, work: object) -> None:
        if serial == self._serial:
            work()  # type: ignore[operator]

    def _begin(self, phase: Phase) -> None:
        if phase is Phase.START_PRIM:
            self._began_primary = True
            self.machine.set_primary(True)
        elif phase in {Phase.STOP_PRIM, Phase.RESTART, Phase.CLEANUP} and self._checks:
            self._checks = False
            self._verdict("init", NOT_CHECKED)
        elif phase is Phase.START_SECOND and self.machine.scenario.module.has_data:
            self._replication.begin_secondary()

    def _end(self, order: RunPipeline, index: int) -> None:
        phase = order.phases[index]
        if phase is Phase.FENCE and not self.machine.fence(order.peer):
            self._answer(order, ok=False)
            return
        if phase in STARTS and self.machine.ills.take("failed_starts"):
            self.machine.note(f"{phase} fails")
            self._in_a_while(partial(self._undone, order))
            return
        if phase in STOPS and self.machine.ills.take("stuck_stops"):
            self.machine.note(f"{phase} is stuck")
            self._stuck = True
        else:
            self._done(phase)
        self._next(order, index + 1)

    def _undone(self, order: RunPipeline) -> None:
        """What a failed start had begun is stopped again, or is stuck."""
        stuck = self.machine.ills.take("stuck_stops")
        if self._began_primary and not stuck:
            self.machine.set_primary(False)
        self._stuck = stuck
        self._answer(order, ok=False)

    def _done(self, phase: Phase) -> None:
        if self.machine.scenario.module.has_data:
            self._replicate(phase)
        if phase in {Phase.STOP_PRIM, Phase.CLEANUP} and not self._stuck:
            self.machine.set_primary(False)
        if phase in NEW_RULES and not self._stuck:
            self._rules = phase in {Phase.START_BOTH, Phase.RECONFIGURE}
            self.machine.accept(0)
        if phase in {Phase.START_PRIM, Phase.RESTART, Phase.START_BOTH}:
            self._checks = True
            self._verdict("init", "")
            self.later(CHECKED_AFTER_S, self.check)

    def _replicate(self, phase: Phase) -> None:
        assert self.order is not None
        match phase:
            case Phase.PRESTART:
                self._replication.tell()
            case Phase.START_PRIM:
                self._replication.promote(self.order)
            case Phase.STAND_ALONE:
                self._replication.stand_alone(self.order)
            case Phase.PAIR:
                self._replication.pair()
            case Phase.START_SECOND:
                self._replication.follow()
            case Phase.STOP_SECOND | Phase.STOP_PRIM | Phase.CLEANUP:
                self._replication.end()

    def check(self) -> None:
        if self._checks and self.order is None:
            self._verdict("down" if self.machine.ills.app_down else "up", "HTTP 200 or not")
        elif self._checks:
            self.later(CHECKED_AFTER_S, self.check)

    def _verdict(self, health: str, reason: str) -> None:
        self.say(VerdictChanged(MODULE, "http.home", health, reason))

    def _answer(self, order: RunPipeline, *, ok: bool) -> None:
        self.order = None
        self.machine.watch.answered(self.machine, order, ok=ok)
        failed = "" if ok else "apache"
        self.say(PipelineFinished(MODULE, order.run, ok, failed, failed, self._stuck))

    def say(self, event: object) -> None:
        self.daemon.told(self, event)

    def orphan(self, why: str) -> None:
        """The daemon is gone or silent: break off, stop everything by force, end."""
        if not self.alive:
            return
        self.machine.note(f"the host stops everything by force: {why}")
        self._serial += 1
        self._replication.end()
        self._checks = False
        self.order = None
        self._in_a_while(self._orphan_ended)

    def _orphan_ended(self) -> None:
        if self.machine.ills.take("stuck_stops"):
            self.machine.note("the orphan's stop is stuck")
        elif self.machine.host in {None, self}:
            self.machine.set_primary(False)
            self.machine.accept(0)
        self.kill()
        self.daemon.lost(self, "the host ended by itself")
