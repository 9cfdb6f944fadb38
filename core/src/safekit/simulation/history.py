"""One history: a cluster starts, lives through its faults, is repaired, and must come to rest where it should."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

from safekit.engine import buckets
from safekit.engine.events import Command
from safekit.engine.module import Module
from safekit.engine.reports import ModuleState, Readiness
from safekit.engine.spec import IsolationPolicy, Kind
from safekit.simulation.chronicle import Chronicle
from safekit.simulation.drawing import draw
from safekit.simulation.faults import Faults
from safekit.simulation.machine import Machine
from safekit.simulation.network import Network
from safekit.simulation.replication import SYNC_S
from safekit.simulation.scenario import MODULE, Injection, Scenario
from safekit.simulation.schedule import Schedule
from safekit.simulation.violation import Promise, ViolationError
from safekit.simulation.watch import Watch
from safekit.simulation.witness import Witness

BEGUN_S: Final = 4.0
"""By then every node is on and was told to start."""
REST_S: Final = 2.0
"""For so long nothing changes any more before a history ends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    violation: str
    """Empty when every invariant held."""
    simulated_s: float = 0.0
    takeovers: int = 0
    both_s: float = 0.0
    promise: str = ""
    """The one that was not kept."""
    injections: tuple[Injection, ...] = ()
    trace: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    """What was injected, and when it ended."""
    why: tuple[str, ...] = ()
    """What `safekit why` would say of the last change on each node."""


class History:
    def __init__(self, scenario: Scenario, chronicle: Chronicle | None = None) -> None:
        self.scenario = scenario
        rng = Random(scenario.seed ^ 0x5AFE)
        self.schedule = Schedule()
        self.watch = Watch(scenario, self.schedule, chronicle)
        self.network = Network(scenario, self.schedule, Random(rng.random()))
        self.machines = {
            name: Machine(name, scenario, self.schedule, Random(rng.random()), self.network, self.watch)
            for name in scenario.nodes
        }
        self.network.connect(self.machines)
        self.witness = self._make_witness(Random(scenario.seed ^ 0x317))
        self.faults = Faults(self, Random(rng.random()))
        self._rng = rng

    def _make_witness(self, rng: Random) -> Witness | None:
        spec = self.scenario.module.witness
        witness = Witness(self.scenario, spec, self.schedule, rng) if spec is not None else None
        for machine in self.machines.values():
            machine.witness = witness
        return witness

    def run(self) -> None:
        """ViolationError when an invariant does not hold."""
        self.watch.begin(self.machines)
        for machine in self.machines.values():
            machine.data.up = machine.name == "a" or self._rng.random() < 0.5
            self.schedule.after(self._rng.choice((0.0, self._rng.uniform(0.0, 2.0))), machine.power_on)
            start_s = self._rng.choice((2.0, self._rng.uniform(2.0, BEGUN_S)))
            self.schedule.after(start_s, partial(machine.command, Command.START))
        self.schedule.run(self._rng.choice((1.0, 6.0)))
        until_s = self.schedule.now_s + self.faults.plan()
        self.schedule.run(until_s)
        while self.faults.at_work:
            self.schedule.run(self.schedule.now_s + 1.0)
        self.schedule.run(max(self.schedule.now_s, BEGUN_S))
        if self.scenario.module.kind is Kind.MIRROR and len(self.machines) > 1 and self._rng.random() < 0.3:
            gone = self._rng.choice(list(self.machines.values()))
            if self.scenario.may_end_alone:
                self._survive(gone)
        self._repair()
        self._settle()
        self._stop()

    def _survive(self, gone: Machine) -> None:
        """One node is off for good; the other runs it, with the operator's word where the policy asks for it."""
        self._repair()
        if self._rng.random() < 0.5:
            self._leave(gone)
            return
        self._retire(gone)
        left = next(machine for machine in self.machines.values() if machine is not gone)
        self.schedule.run(self.schedule.now_s + 2 * self.scenario.lost_after_s + 2 * self.scenario.phase_s)
        left.command(Command.START)
        if self.witness is not None and not self.scenario.module.has_data:
            self._within(Promise.SURVIVES, "it does not survive with the witness", lambda: self._runs_alone(left))
            return
        safety = self.scenario.module.isolation is IsolationPolicy.SAFETY or self.witness is not None
        if safety or self.scenario.module.has_data:
            self._within(Promise.SURVIVES, "it does not survive", lambda: self._rests(left))
            left.command(Command.PRIM, force=True)
        self._within(Promise.SURVIVES, "it does not survive", lambda: self._runs_alone(left))

    def _leave(self, gone: Machine) -> None:
        """One node is shut down; the other runs it without anybody's word, whatever the policy."""
        self._within(Promise.COMES_TO_REST, "it does not come to rest", self._well)
        self.schedule.run(self.schedule.now_s + 1.5 * SYNC_S)
        gone.shut_down(partial(self._retire, gone))
        self.schedule.run(self.schedule.now_s + 0.1)
        left = next(machine for machine in self.machines.values() if machine is not gone)
        self._within(Promise.SURVIVES, "it does not go on", lambda: not gone.powered and self._runs_alone(left))

    def _retire(self, gone: Machine) -> None:
        gone.power_off()
        gone.retired = True
        self.watch.note("--", f"{gone.name} stays off")

    def _rests(self, left: Machine) -> bool:
        module = self._module(left)
        return self._runs_alone(left) or (module.state is ModuleState.WAIT and module.readiness is Readiness.NOT_READY)

    def _runs_alone(self, left: Machine) -> bool:
        module = self._module(left)
        return module.state is ModuleState.ALONE and module.readiness is Readiness.READY and left.primary

    def _within(self, promise: Promise, what: str, done: Callable[[], bool]) -> None:
        began_s = self.schedule.now_s
        while not done():
            if self.schedule.now_s - began_s > self.scenario.settle_s:
                self.watch.violated(promise, f"{what} within {self.scenario.settle_s:.0f} s: {self._shown()}")
            self.schedule.run(self.schedule.now_s + 0.5)

    def _stop(self) -> None:
        """The operator stops it everywhere, and then nothing runs anywhere."""
        for machine in self.machines.values():
            machine.command(Command.STOP)
        self._within(Promise.STOPS, "it does not stop", self._is_stopped)

    def _is_stopped(self) -> bool:
        stopped = all(m.state is ModuleState.STOP and m.run is None and not m.active for m in self._modules())
        return stopped and not any(machine.primary for machine in self.machines.values())

    def _repair(self) -> None:
        self.watch.note("--", "everything is repaired")
        if self.witness is not None:
            self.witness.cut.clear()
            self.witness.mend()
        for machine in self.machines.values():
            machine.crash_at_next_save(armed=False)
            machine.retired = False
            machine.power_on()
            machine.start_daemon()
            machine.app(down=False)
        self.schedule.run(self.schedule.now_s + 3 * self.scenario.phase_s)
        for machine in self.machines.values():
            machine.power_on()  # it may have been reset meanwhile
            machine.ills.disk_failed, machine.ills.disk_hangs_until_s = False, 0.0
            machine.ills.failed_starts = machine.ills.stuck_stops = machine.ills.hanging_runs = 0
            machine.ills.lost_shares = 0
            if machine.module.nodes != self.scenario.module.nodes:
                machine.configure(replace(machine.module, nodes=self.scenario.module.nodes), machine.timing)
            machine.command(Command.FAILOVER_ON)
            machine.command(Command.START)
        self.watch.quiet_since_s = self.schedule.now_s

    def _settle(self) -> None:
        """A bounded time after the repair, all is well, and it stays so."""
        self.network.calm = True
        self._within(Promise.COMES_TO_REST, "it does not come to rest", self._well)
        before = self._shown()
        self.schedule.run(self.schedule.now_s + REST_S)
        if not self._well() and not self._swaps_to_default(before):
            self.watch.violated(Promise.STAYS_AT_REST, f"it did not stay at rest: {before}, then {self._shown()}")

    def _swaps_to_default(self, before: str) -> bool:
        return self.scenario.module.default_primary is not None and before != self._shown()

    def _modules(self) -> list[Module]:
        return [self._module(machine) for machine in self.machines.values() if machine.daemon is not None]

    @staticmethod
    def _module(machine: Machine) -> Module:
        assert machine.daemon is not None
        return machine.daemon.node.modules[MODULE]

    def _shown(self) -> str:
        names = [machine.name for machine in self.machines.values() if machine.daemon is not None]
        return ", ".join(
            f"{n} {m.state}/{m.readiness} ({m.reason})" for n, m in zip(names, self._modules(), strict=False)
        )

    def _well(self) -> bool:
        modules = self._modules()
        if len(modules) < len(self.machines) or any(m.readiness is not Readiness.READY for m in modules):
            return False
        if any(
            machine.daemon is not None and machine.daemon.node.storage_trouble for machine in self.machines.values()
        ):
            return False  # it has not seen yet that its disk is well again
        states = sorted(m.state for m in modules)
        if self.scenario.module.kind is Kind.FARM:
            return set(states) == {ModuleState.UP} and self._is_shared(modules)
        if self.scenario.module.kind is Kind.LIGHT:
            return set(states) == {ModuleState.UP}
        if self.scenario.module.has_data and not self._are_alike():
            return False
        expected = [ModuleState.ALONE] if len(modules) == 1 else [ModuleState.PRIM, ModuleState.SECOND]
        return states == expected and all(
            machine.primary == (module.state is not ModuleState.SECOND)
            for machine, module in zip(self.machines.values(), modules, strict=True)
        )

    def _are_alike(self) -> bool:
        """All nodes have all data."""
        disks = [machine.data for machine in self.machines.values()]
        return all(data.up and data.periods == disks[0].periods for data in disks)

    def _is_shared(self, modules: list[Module]) -> bool:
        """Each bucket is served by one node, in proportion to the weights."""
        quotas = buckets.quotas({name: m.weight for name, m in zip(self.machines, modules, strict=True)})
        served = {name: machine.serves.bit_count() for name, machine in self.machines.items()}
        return served == quotas and not self.watch.farm.served_twice()


def run_history(seed: int, *, witness: bool = True, trace: bool = False) -> Outcome:
    """The same seed always gives the same history."""
    return play(draw(seed, witness=witness), trace=trace)


def play(scenario: Scenario, *, trace: bool = False) -> Outcome:
    chronicle = Chronicle() if trace else None
    history = History(scenario, chronicle)
    violation = promise = ""
    try:
        history.run()
    except ViolationError as found:
        violation, promise = str(found), str(found.promise)
    except Exception as error:  # of the engine: a daemon would end
        promise = Promise.NO_ERROR
        where = traceback.extract_tb(error.__traceback__)[-1]
        violation = (
            f"seed {scenario.seed} at {history.schedule.now_s:.3f} s: {type(error).__name__}: {error}, "
            f"{where.name}, line {where.lineno} of {where.filename} ({promise})"
        )
    watch = history.watch
    return Outcome(
        seed=scenario.seed,
        violation=violation,
        simulated_s=history.schedule.now_s,
        takeovers=watch.takeovers,
        both_s=watch.both_s,
        promise=promise,
        injections=history.faults.planned,
        trace=tuple(chronicle.lines) if chronicle is not None else (),
        events=tuple(chronicle.events) if chronicle is not None else (),
        why=tuple(chronicle.why()) if chronicle is not None else (),
    )
