"""Two nodes, a network and an engine, all simple models, around the shipped sender and receiver; faults at any time.

The engine lets one node be primary, and asks of a node that takes over what the real one asks: that its data are up to
date, and that no newer epoch stood alone."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from safekit_resource_rfs import effects
from safekit_resource_rfs.generations import Standing, Verdict, is_trusted, judge
from safekit_resource_rfs.messages import Begin, Checkpoint, Cleared, Pair, Stable
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.sender import Limits, Mode, Role, Sender, State

from .application_model import Application
from .history_model import BrokenPromiseError, History
from .machine_model import Connection, Machine, Process, Variant, marks_of, start

LIMITS = Limits(window_changes=40, window_bytes=1 << 20, timeout_s=0.2, stall_s=1.0, checkpoint_s=0.15)
SHIPPED = Variant()
HOLD_S = 0.3
LOSS_S = 0.1
NEVER_S = 1e9


class Cluster:
    def __init__(self, seed: int, variant: Variant = SHIPPED) -> None:
        self.random = Random(seed)
        self.variant = variant
        self.now_s = 0.0
        self.notes: list[str] = []
        self.history = History(self.random.choice(("write", "write", "ordered", "writeback")))
        self.machines = [Machine(self, "A", 0.0), Machine(self, "B", self.random.choice((0.0, -50.0, 3000.0)))]
        self.network_is_up = True
        self.epoch = 0
        self.alone_epoch = 0
        self.alone_owner: Machine | None = None
        self.primary: Machine | None = None
        self.promoting = False
        self.application: Application | None = None
        self.is_busy = True
        self.faults_end = False
        self._ids = count(1)
        self._order = count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._connection: Connection | None = None
        self._alone_since_s = NEVER_S
        self._dead_since_s = NEVER_S
        self._expected_aside: list[tuple[bytes, Any]] = []
        self.on_milestone: Callable[[], None] = lambda: None

    # time

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_s + delay_s, next(self._order), action))

    def run(self, until_s: float) -> None:
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, _, action = heapq.heappop(self._queue)
            action()
        self.now_s = until_s

    def note(self, text: str) -> None:
        self.notes.append(f"{self.now_s:8.4f} {text}")

    def new_id(self) -> str:
        return f"{next(self._ids):032x}"

    def machine(self, process: Process) -> Machine:
        return process.machine

    def other(self, machine: Machine) -> Machine:
        return self.machines[1 - self.machines.index(machine)]

    # the engine

    def begin(self) -> None:
        self._promote(self.machines[0], alone=True)
        self.history.restart(self.machines[0].files, None)
        self._engine()
        self._tick()
        self._work()

    def _engine(self) -> None:
        self.later(0.02, self._engine)
        for machine in self.machines:
            is_primary = machine is self.primary
            if machine.is_on and machine.process is None and not is_primary and not machine.writes:
                self._start_secondary(machine)
        self._resolve_doubt()
        if self.primary is None:
            self._choose()
        else:
            self._watch(self.primary)
        self._connect()

    def _resolve_doubt(self) -> None:
        if self.primary is not None or not self.network_is_up or not all(each.is_on for each in self.machines):
            return
        for machine in self.machines:
            other = self.other(machine).durable
            prefer = machine is self.machines[0]
            if not machine.writes and is_trusted(machine.durable, other, prefer_own=prefer):
                self.note(f"{machine.name} is trusted: the other node has no more")
                machine.durable = replace(machine.durable, doubt=False)
                self._restart_secondary(machine)

    def _restart_secondary(self, machine: Machine) -> None:
        machine.kill()
        self._start_secondary(machine)

    def _is_fit(self, machine: Machine) -> bool:
        durable = machine.durable.opened(str(machine.boot))
        if self.variant.trusts_reboot:
            durable = replace(durable, doubt=False)
        core = machine.process.core if machine.process is not None else None
        if isinstance(core, Receiver) and core.is_failing:
            return False
        newest = durable.generation.epoch >= self.alone_epoch or self.alone_owner is machine or self._is_void()
        return machine.is_on and not machine.writes and durable.standing is Standing.UP and newest

    def _is_void(self) -> bool:
        """A node that claimed to stand alone, and is heard to have never begun."""
        owner = self.alone_owner
        heard = self.network_is_up and all(machine.is_on and not machine.writes for machine in self.machines)
        return owner is not None and heard and owner.durable.generation.epoch < self.alone_epoch

    def _choose(self) -> None:
        fit = [machine for machine in self.machines if self._is_fit(machine)]
        if fit:
            chosen = self.random.choice(fit)
            self._promote(chosen, alone=not chosen.durable.paired or self.random.random() < 0.7)

    def _watch(self, primary: Machine) -> None:
        process = primary.process
        if process is None:
            self.promoting = False
            self._dead_since_s = min(self._dead_since_s, self.now_s)
            if self.now_s - self._dead_since_s > LOSS_S:
                self._dead_since_s = NEVER_S
                self.primary = None
                self.note(f"{primary.name} is no longer primary: it is dead")
            return
        self._dead_since_s = NEVER_S
        if self.promoting:
            return
        sender = process.core
        assert isinstance(sender, Sender)
        if sender.is_broken:
            self.note(f"{primary.name} is restarted, as its disk fails")
            primary.kill()
            return
        if sender.is_connected and self.random.random() < 0.2:
            sender.pair()
            process.pump()
        if sender.state is not State.HOLDING:
            self._alone_since_s = self.now_s
        elif self.now_s - self._alone_since_s > HOLD_S:
            self._alone_since_s = self.now_s
            self._stand_alone(primary, sender)

    def _claim(self, machine: Machine) -> None:
        """Durable at the witness: the other node will not take over with what it has."""
        self.epoch += 1
        self.alone_epoch, self.alone_owner = self.epoch, machine

    def _stand_alone(self, machine: Machine, sender: Sender) -> None:
        self._claim(machine)
        self.note(f"{machine.name} is told to stand alone, epoch {self.epoch}")
        sender.stand_alone(self.epoch, self.new_id())
        if machine.process is not None:
            machine.process.pump()

    def _promote(self, machine: Machine, *, alone: bool, force: bool = False) -> None:
        self.primary, self.promoting = machine, True
        if machine.process is not None:
            machine.kill()
        if alone:
            self._claim(machine)
        else:
            self.epoch += 1
        self.note(f"{machine.name} becomes primary, epoch {self.epoch}{', alone' if alone else ''}")
        self._open(machine)
        stream = self.new_id()
        core = self.variant.sender(machine.durable, marks_of(machine), Mode(self.history.mode), stream, LIMITS)
        process = start(machine, core)
        if self.history.prints and not force:
            self._check_take_over(machine)
        core.promote(self.epoch, self.new_id(), alone=alone)
        process.pump()

    def _open(self, machine: Machine) -> None:
        durable = machine.open()
        if self.variant.trusts_reboot:
            machine.durable = replace(durable, doubt=False)

    def _check_take_over(self, machine: Machine) -> None:
        self.history.check_synced(machine.files, machine.name)
        other = self.other(machine)
        same = other.durable.up_to_date and other.durable.generation.id == machine.durable.generation.id
        length = None
        if not machine.lost_memory or (same and not other.lost_memory):
            length = self.history.check_exact(machine.files, machine.name)
        self.history.restart(machine.files, length)
        machine.lost_memory = False

    def _check_paired(self, machine: Machine) -> None:
        """As the secondary says that it has everything."""
        primary = self.other(machine)
        if not machine.durable.up_to_date:
            raise BrokenPromiseError(f"{machine.name} says that it is up to date before that is on record")
        same = primary.durable.generation.id == machine.durable.generation.id
        if same and not primary.durable.paired:
            raise BrokenPromiseError(
                f"{primary.name} would not know after a crash that {machine.name} may have everything"
            )
        if same and primary is self.primary:
            self.history.check_stable(machine.files, machine.name)

    def _check_alone(self, machine: Machine) -> None:
        if machine.durable.generation.id in self.other(machine).durable.generation.line:
            raise BrokenPromiseError(f"{machine.name} acknowledges alone with the generation of the other node")

    def sent(self, message: Any) -> None:
        if isinstance(message, Checkpoint | Stable | Cleared | Pair | Begin):
            self.on_milestone()

    def dropped(self, process: Process, path: bytes) -> None:
        """Its cache had what its disk refused."""
        if isinstance(process.core, Sender):
            self.history.prints.append(process.files.fingerprint())
        else:
            self._expected_aside = [each for each in self._expected_aside if each[0] != path]

    def reported(self, process: Process, report: effects.Report) -> None:
        machine = process.machine
        self.on_milestone()
        if report.event == "promoted":
            self.promoting = False
            self._alone_since_s = self.now_s
            if not machine.durable.paired:
                self.history.begin_alone()
            if self.application is not None:
                self.application.is_over = True
            self.application = Application(process, self.history, self.random, self.note)
            process.core.record_times = self.application.record_times  # type: ignore[union-attr]
        elif report.event in ("paired", "alone") and isinstance(process.core, Sender):
            self.history.others = []
            if report.event == "alone":
                self._check_alone(machine)
        elif report.event == "paired":
            self._check_paired(machine)
            machine.lost_memory = False
            self._check_aside(machine)
        elif report.event == "behind":
            self._expect_aside(machine)
        elif report.event == "demoted" and machine is self.primary:
            self._swapped(machine)

    def _start_secondary(self, machine: Machine) -> None:
        self._open(machine)
        core = self.variant.receiver(machine.durable, marks_of(machine), self.new_id(), LIMITS)
        start(machine, core).pump()

    def _connect(self) -> None:
        if self.primary is None or self.promoting or not self.network_is_up:
            return
        primary, secondary = self.primary.process, self.other(self.primary).process
        if primary is None or secondary is None or primary.connection or secondary.connection:
            return
        assert isinstance(primary.core, Sender)
        if primary.core.role is Role.PRIMARY and self.random.random() < 0.6:
            self._connection = Connection(self, primary, secondary, self._carry)

    def _carry(self, process: Process, message: Any) -> None:
        process.core.received(message, self.now_s)
        process.pump()

    def swap(self) -> None:
        process = self.primary.process if self.primary is not None else None
        if process is None or self.promoting or not isinstance(process.core, Sender):
            return
        if process.core.state is State.PAIRED and not self.faults_end:
            self.note(f"swap: {process.machine.name} is told to stop")
            process.core.demote()
            process.pump()

    def _swapped(self, machine: Machine) -> None:
        """It runs in the demoted process: what follows does not."""
        self.later(0.0, lambda: self._hand_over(machine))

    def _hand_over(self, machine: Machine) -> None:
        if self.primary is not machine:
            return
        other = self.other(machine)
        machine.kill()
        if self._is_fit(other):
            self._promote(other, alone=False)
        else:
            self.primary = None

    # what goes on

    def _tick(self) -> None:
        self.later(0.05, self._tick)
        for machine in self.machines:
            if machine.process is not None:
                machine.process.core.tick(self.now_s)
                machine.process.pump()

    def _work(self) -> None:
        self.later(self.random.choice((0.002, 0.01, 0.03)), self._work)
        application = self.application
        if application is None or application.is_over or not application.process.is_alive:
            return
        if self.random.random() < 0.15:
            application.record_times()
        if self.is_busy:
            application.step()

    # kept aside

    def _expect_aside(self, machine: Machine) -> None:
        files = machine.files
        self._expected_aside = []
        if self.primary is None:
            return
        verdict = judge(self.primary.durable.generation, machine.durable.generation)
        if verdict not in (Verdict.SPLIT, Verdict.UNRELATED, Verdict.EMPTY_THERE):
            return
        found = [(path, number) for path, number in files.walk() if files.inodes[number].is_file]
        self._expected_aside = [(path, files.content(number)) for path, number in found]
        files.aside.clear()
        files._asided.clear()

    def _check_aside(self, machine: Machine) -> None:
        files = machine.files
        there = {files.content(number) for _, number in files.walk() if files.inodes[number].is_file}
        kept = there | {content for _, content in files.aside}
        for path, content in self._expected_aside:
            if content not in kept:
                raise BrokenPromiseError(f"{path!r} of {machine.name} was overwritten, and is not kept aside")
        self._expected_aside = []
        files._asided.clear()

    def force(self) -> None:
        """An operator makes the secondary primary while the primary is dead: both may have moved on."""
        if self.primary is None or self.primary.process is not None or self.promoting:
            return
        other = self.other(self.primary)
        if not other.is_on or other.writes or other.process is None or not other.durable.generation.id:
            return
        self.note(f"force: {other.name}")
        self._promote(other, alone=True, force=True)
        self.history.restart(other.files, None)
        self.history.promises.clear()
        self.history.acknowledged = 1
