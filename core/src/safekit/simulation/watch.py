"""What must be true at every step, judged by what really runs and not by what the nodes believe."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from safekit import engine
from safekit.engine import events, right
from safekit.engine.actions import Action, Explain, Phase, RunPipeline
from safekit.engine.module import Module
from safekit.engine.reports import ModuleState
from safekit.engine.spec import IsolationPolicy, Kind
from safekit.simulation.chronicle import Chronicle
from safekit.simulation.farm_watch import FarmWatch
from safekit.simulation.host import STARTS, STOPS
from safekit.simulation.replication import Ledger
from safekit.simulation.scenario import MODULE, Scenario
from safekit.simulation.schedule import Schedule
from safekit.simulation.tenure import CHOSEN, GRANTED, HEARD, UNHEARD, Tenure
from safekit.simulation.violation import Promise, ViolationError

if TYPE_CHECKING:
    from safekit.simulation.daemon import Daemon
    from safekit.simulation.machine import Machine

LOOK_S: Final = 0.5


class Watch:
    def __init__(self, scenario: Scenario, schedule: Schedule, chronicle: Chronicle | None) -> None:
        self.scenario = scenario
        self.schedule = schedule
        self.chronicle = chronicle
        self.machines: dict[str, Machine] = {}
        self.quiet_since_s = 0.0
        """Since when no fault has been at work; infinite while one is."""
        self.takeovers = 0
        self.both_s = 0.0
        """For how long both were primary, in all."""
        self._both_since_s: float | None = None
        self.farm = FarmWatch(self)
        self._decided: dict[str, tuple[str, float]] = {}
        """How and when each node decided last to be primary."""
        self._tenures: dict[str, Tenure] = {}
        self._lost_s: dict[str, float] = {}  # when each decided last to stop in favour of another
        self.ledger = Ledger()
        self._must_stop: set[str] = set()
        self._chosen: set[str] = set()
        self._last = ("", 0)
        """Who decided last to be primary, and in which incarnation."""
        self._saved_epoch: dict[str, int] = {}

    def begin(self, machines: dict[str, Machine]) -> None:
        self.machines = machines
        self._look()

    def note(self, where: str, text: str) -> None:
        if self.chronicle is not None:
            self.chronicle.note(self.schedule.now_s, where, text)

    def violated(self, promise: Promise, what: str) -> NoReturn:
        self.note("!!", what)
        text = f"seed {self.scenario.seed} at {self.schedule.now_s:.3f} s: {what} ({promise})"
        raise ViolationError(promise, text)

    # what the engine decides

    def decided(
        self, daemon: Daemon, before: engine.NodeState, event: events.Event, actions: tuple[Action, ...]
    ) -> None:
        self._note_word(daemon, event)
        for action in actions:
            if isinstance(action, Explain):
                self._explained(daemon, action)
        was, now = before.modules.get(MODULE), daemon.node.modules.get(MODULE)
        run = now.run if now is not None else None
        if was is not None and run is not None and run.number > was.runs and Phase.START_PRIM in run.row.phases:
            self._took(daemon, was, event, run.row.cause)
            self.takeovers += run.row.cause == "takeover"

    def _note_word(self, daemon: Daemon, event: events.Event) -> None:
        """The operator's `prim` counts while the other node is silent, and not once it was heard."""
        name = daemon.machine.name
        if any(peer.alive for peer in daemon.node.membership.peers.values()):
            self._chosen.discard(name)
        elif isinstance(event, events.CommandGiven) and event.command is events.Command.PRIM:
            self._chosen.add(name)

    def _explained(self, daemon: Daemon, said: Explain) -> None:
        if self.chronicle is not None:
            self.chronicle.explained(self.schedule.now_s, daemon.machine.name, said)
        if said.rule in {"peer-lost", "peer-heard"}:
            self.farm.parted(daemon.machine.name, said.decision.split()[0])
        if said.rule == "peer-lost":
            self._silence_was_real(daemon, said.decision.split()[0])
        stops = said.after.startswith("WAIT") and not said.before.startswith("WAIT")
        if said.rule == "two-primaries" and (stops or "is broken off here" in said.decision):
            self._somebody_else_runs(daemon.machine)
            self._lost_s[daemon.machine.name] = self.schedule.now_s

    def _somebody_else_runs(self, machine: Machine) -> None:
        """Who stops in favour of another knows that the other runs, or ran a moment ago."""
        lately_s = self.schedule.now_s - 2 * self.scenario.lost_after_s - 3.0
        others = [other for other in self.machines.values() if other is not machine]
        if not any(other.primary or max(other.primary_until_s, other.meant_until_s) > lately_s for other in others):
            self.violated(Promise.LOSER_IS_RIGHT, f"{machine.name} stops in favour of a node that runs nothing")
        for other in others:
            self.ledger.keep_aside(machine.data.periods - other.data.periods)
            if self._both_since_s is not None and self._lost_s.get(other.name, -math.inf) >= self._both_since_s:
                self.violated(Promise.ONE_STOPS, f"{machine.name} and {other.name} stop in favour of each other")

    def _silence_was_real(self, daemon: Daemon, peer: str) -> None:
        machine = daemon.machine
        since_s = max(machine.heard_s.get(peer, 0.0), machine.thawed_s, daemon.started_s)
        silent_s = self.schedule.now_s - since_s
        if silent_s < 0.9 * self.scenario.least_lost_after_s - 1e-6:
            self.violated(Promise.SILENCE_IS_REAL, f"{machine.name} judged {peer} after {silent_s:.3f} s of listening")

    def _took(self, daemon: Daemon, before: Module, event: events.Event, cause: str) -> None:
        name, after = daemon.machine.name, daemon.node.modules[MODULE]
        peer = next((node for node in self.scenario.nodes if node != name), "")
        known = daemon.node.membership.peers.get(peer)
        silent = bool(peer) and (known is None or not known.alive)
        how = HEARD
        if silent and cause != "swap" and after.spec.witness is not None:
            how = self._how_by_witness(daemon, after)
        elif silent and cause == "takeover" and after.spec.fences:
            self._is_off(name, peer)
        elif silent and cause != "swap":
            how = CHOSEN if name in self._chosen else UNHEARD
            if self._safety and (self._last == (name, daemon.incarnation) or self._chosen_elsewhere(name)):
                how = HEARD  # it goes on with what it was; nobody was primary in between, but by an operator's word
        if (
            how == HEARD
            and peer
            and self.schedule.now_s - daemon.machine.woke_s < 0.9 * self.scenario.least_lost_after_s
        ):
            self.violated(Promise.WORD_IS_NEW, f"{name} became primary by what {peer} said before {name} slept")
        if how == UNHEARD and self._safety:
            self.violated(
                Promise.SAFETY_WAITS, f"{name} became primary while {peer} was silent, and the policy is safety"
            )
        if silent and known is not None and known.incarnation < 0:
            self._silence_was_real(daemon, peer)
        forced = before.chosen_by_force or getattr(event, "force", False)
        if after.spec.has_data:
            self._has_every_write(daemon.machine, answered_for=forced or how in {CHOSEN, UNHEARD})
        self._decided[name] = (how, self.schedule.now_s)
        self._last = (name, daemon.incarnation)

    def _is_off(self, name: str, peer: str) -> None:
        """Who was fenced before another took over from it."""
        other, heard_s = self.machines[peer], self.machines[name].heard_s.get(peer, 0.0)
        if other.fenced_s < heard_s or other.primary:
            self.violated(Promise.SAFETY_WAITS, f"{name} took over from {peer}, which is not off")

    def _has_every_write(self, machine: Machine, *, answered_for: bool) -> None:
        if answered_for:
            self.ledger.answered_for(machine.data)
        elif missing := self.ledger.lacks(machine.data):
            text = f"{machine.name} became primary and lacks what was acknowledged in {missing} periods"
            self.violated(Promise.DATA_FIRST, text)
        elif not machine.data.up:
            self.violated(Promise.DATA_FIRST, f"{machine.name} became primary though its data may lack writes")

    def _how_by_witness(self, daemon: Daemon, after: Module) -> str:
        """Silent is the other: the operator answers for it, or the witness has given the lease."""
        witness, name = daemon.machine.witness, daemon.machine.name
        if after.right.by_force:
            return CHOSEN
        if witness is None or not (witness.lets(name) or not witness.spec.exclusive):
            self.violated(Promise.LEASE_FIRST, f"{name} became primary without a lease")
        return GRANTED if self._has_witness else UNHEARD

    @property
    def _safety(self) -> bool:
        """Two may run only after an operator's word."""
        witness = self.scenario.module.witness
        return self.scenario.module.isolation is IsolationPolicy.SAFETY if witness is None else witness.exclusive

    def _chosen_elsewhere(self, name: str) -> bool:
        return any(tenure.excuse == CHOSEN for other, tenure in self._tenures.items() if other != name)

    # what the daemon does

    def published(self, daemon: Daemon) -> None:
        machine = daemon.machine
        report = dict(daemon.published).get(MODULE)
        if report is not None and report.state in {ModuleState.ALONE, ModuleState.PRIM}:
            machine.meant_until_s = math.inf
        else:
            machine.meant_until_s = min(machine.meant_until_s, self.schedule.now_s)
        if report is not None and report.farm is not None and machine.served_lately & ~report.farm.held:
            self.violated(Promise.SAID_IS_TRUE, f"{machine.name} accepts buckets and does not say so")
        noted = max((facts.alone_epoch for facts in machine.disk.modules), default=0) if machine.disk else 0
        if report is not None and report.alone_epoch > noted:
            self.violated(Promise.DISK_FIRST, f"{machine.name} says who stood alone, and has not noted it")
        if report is not None and machine.primary and not report.active:
            self.violated(Promise.SAID_IS_TRUE, f"{machine.name} says that nothing of the primary runs, and it does")

    def saved(self, machine: Machine, durable: engine.Durable) -> None:
        epoch = max((facts.epoch for facts in durable.modules), default=0)
        if epoch < self._saved_epoch.get(machine.name, 0):
            self.violated(Promise.EPOCH_GROWS, f"the epoch of {machine.name} went back to {epoch}")
        self._saved_epoch[machine.name] = epoch

    def ordered(self, daemon: Daemon, order: RunPipeline) -> None:
        name, phases = daemon.machine.name, set(order.phases)
        if name in self._must_stop:
            self._must_stop.discard(name)
            if phases & STARTS or not phases & STOPS:
                self.violated(
                    Promise.FAILED_IS_STOPPED,
                    f"on {name} a failed run is followed by '{order.cause}', which stops nothing",
                )
        if Phase.START_PRIM not in phases:
            return
        if not any(f.active and f.epoch >= order.epoch for f in (daemon.machine.disk or engine.Durable()).modules):
            self.violated(
                Promise.DISK_FIRST, f"{name} starts as primary of epoch {order.epoch}, and that is not on its disk"
            )
        tenure = Tenure(order.epoch, *self._decided.get(name, (HEARD, self.schedule.now_s)))
        for other, earlier in self._tenures.items():
            if tenure.shares_epoch(earlier) or (other == name and earlier.epoch >= tenure.epoch):
                self.violated(
                    Promise.EPOCH_GROWS,
                    f"{name} is primary of epoch {tenure.epoch} after {other} was that of {earlier.epoch}",
                )
        self._tenures[name] = tenure

    def answered(self, machine: Machine, order: RunPipeline, *, ok: bool) -> None:
        self.note(machine.name, f"run {order.run} ({order.cause}) {'is done' if ok else 'failed'}")
        if not ok and Phase.FENCE not in order.phases:
            self._must_stop.add(machine.name)

    def restarted(self, machine: Machine) -> None:
        machine.meant_until_s = min(machine.meant_until_s, self.schedule.now_s)
        self._must_stop.discard(machine.name)

    # what really runs

    def primary_changed(self, machine: Machine) -> None:
        self.note(machine.name, f"the primary's resources are {'ON' if machine.primary else 'off'} here")
        if machine.primary:
            self._may_be_primary(machine)
        self._count_primaries()

    def resumed(self, machine: Machine) -> None:
        """What was frozen with its machine runs again, and is stopped at once if it is out of date."""
        self._count_primaries()
        if self._both_since_s is not None and self._has_witness and not self.scenario.clocks_stand:
            self.schedule.after(self._stop_s, partial(self._has_stopped, machine, self._both_since_s))

    def _has_stopped(self, machine: Machine, since_s: float) -> None:
        if self._both_since_s == since_s:
            self.violated(Promise.THAWED_STOPS, f"{machine.name} was frozen past its lease, and still runs")

    @property
    def _stop_s(self) -> float:
        """What a machine that was frozen past its lease may take for a forced stop."""
        return (right.STOPS + 0.1) * self.scenario.lease_s

    @property
    def _has_witness(self) -> bool:
        return self.scenario.module.witness is not None and self.scenario.module.witness.exclusive

    def _count_primaries(self) -> None:
        running = [name for name, other in self.machines.items() if other.primary and not other.suspended]
        if len(running) > 1:
            self._both(running)
        elif self._both_since_s is not None:
            self.both_s += self.schedule.now_s - self._both_since_s
            self._both_since_s = None

    def runs_elsewhere(self, machine: Machine) -> bool:
        return any(other.primary for other in self.machines.values() if other is not machine)

    def _may_be_primary(self, machine: Machine) -> None:
        report = dict(machine.daemon.published).get(MODULE) if machine.daemon else None
        if report is not None and not report.active:
            self.violated(Promise.SAID_IS_TRUE, f"{machine.name} starts the primary and has not said so")

    def _both(self, running: list[str]) -> None:
        self._both_since_s = self.schedule.now_s
        lately_s = self.schedule.now_s - self._stop_s
        if self._has_witness and any(self.machines[name].resumed_s >= lately_s for name in running):
            return
        if self.scenario.clocks_stand and self._has_witness:
            return
        hows = {self._tenures[name].excuse for name in running if name in self._tenures}
        self.ledger.diverge(*(self.machines[name].data for name in running[:2]))
        allowed = {CHOSEN} if self._safety else {CHOSEN, UNHEARD}
        if not hows & allowed:
            told = ", ".join(f"{name} ({self._tenures[name].excuse})" for name in running if name in self._tenures)
            self.violated(Promise.ONE_PRIMARY, f"both run the primary: {told}")

    def _look(self) -> None:
        self.schedule.after(LOOK_S, partial(self._look))
        if self.scenario.module.kind is Kind.FARM:
            self.farm.look()
        if self._both_since_s is not None:
            since_s = max(self._both_since_s, self.quiet_since_s)
            bound_s = 3 * self.scenario.lost_after_s + 8 * self.scenario.phase_s + 3.0
            bound_s += 2 * self.scenario.run_bound_s + 40.0 if self.scenario.rough else 0.0
            if self.schedule.now_s - since_s > bound_s:
                self.violated(
                    Promise.PRIMARIES_PART,
                    f"both have been primary for {self.schedule.now_s - since_s:.1f} s without any fault",
                )
        elif self._in_contact():
            for name, tenure in self._tenures.items():
                if self.machines[name].primary:
                    self.ledger.confirm(self.machines[name].data)
                    tenure.met_s = min(tenure.met_s, self.schedule.now_s)

    def is_sole(self, machine: Machine) -> bool:
        """No other may be primary beside it."""
        tenure = self._tenures.get(machine.name)
        return tenure is not None and tenure.excuse in {HEARD, GRANTED}

    def _in_contact(self) -> bool:
        for machine in self.machines.values():
            if machine.daemon is None or machine.daemon.frozen:
                return False
            if not all(peer.alive for peer in machine.daemon.node.membership.peers.values()):
                return False
        return True
