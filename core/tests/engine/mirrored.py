"""Two nodes and what replicates between them, as the engine sees it; the test plays the networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from safekit import engine
from safekit.engine.actions import AskWitness, Phase, RunPipeline
from safekit.engine.events import ValueSet
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import IsolationPolicy, ModuleSpec

from .kit import MODULE, NODES, spec
from .third import WITNESS, Three

WITNESSED = spec(has_data=True, witness=WITNESS)
SAFE = spec(has_data=True)
AVAILABLE = spec(has_data=True, isolation=IsolationPolicy.AVAILABILITY)


@dataclass
class DataPath:
    """What a resource that replicates does, as the engine sees it."""

    is_up_to_date: bool = True
    epoch: int = 0
    writes: set[int] = field(default_factory=set)
    role: str = ""
    may_stand_alone: bool = False
    is_paired: bool = False
    is_holding: bool = False

    def obey(self, order: RunPipeline) -> None:
        for phase in order.phases:
            match phase:
                case Phase.START_PRIM:
                    self.role, self.epoch = "prim", order.epoch
                    self._stand(alone=order.after == "ALONE")
                case Phase.STAND_ALONE:
                    self.epoch = order.epoch
                    self._stand(alone=True)
                case Phase.PAIR:
                    self.may_stand_alone = False
                case Phase.START_SECOND:
                    self.role = "second"
                case Phase.STOP_PRIM | Phase.STOP_SECOND | Phase.CLEANUP:
                    self.role = ""

    def _stand(self, *, alone: bool) -> None:
        self.may_stand_alone = alone
        self.is_paired = self.is_paired and not alone
        self.is_holding = False
        self.is_up_to_date = True

    def values(self) -> dict[str, str]:
        words = {True: "up", False: "down"}
        return {
            "rfs.epoch": str(self.epoch),
            "rfs.uptodate": words[self.is_up_to_date],
            "rfs.holding": words[self.is_holding],
        }


class Mirrored(Three):
    """Every write that was acknowledged is on the node that becomes primary, or it is an error at once."""

    def __init__(self, module: ModuleSpec = WITNESSED) -> None:
        self.paths = {name: DataPath() for name in NODES}
        self.seen = dict.fromkeys(NODES, 0)
        self.disks: dict[str, engine.Durable] = {}
        self.acknowledged: set[int] = set()
        self.is_linked = True
        self.forced = False
        super().__init__(module)

    def host(self, name: str) -> None:
        for _ in range(5):
            super().host(name)
            if name in self.off or not self._obey(name):
                return
        raise AssertionError("the values change without end")

    def _obey(self, name: str) -> bool:
        bench, path = self.benches[name], self.paths[name]
        orders = bench.orders(bench.all[self.seen[name] :])
        self.seen[name] = len(bench.all)
        for order in orders:
            path.obey(order)
            if Phase.START_PRIM in order.phases and not self.forced:
                assert self.acknowledged <= path.writes, f"{name} becomes primary and lacks what was acknowledged"
        changed = [(key, value) for key, value in path.values().items() if bench.m.plain_values().get(key) != value]
        for key, value in changed if bench.m.state != "STOP" else ():
            bench.tell(ValueSet(MODULE, key, value, by="plugin"))
        return bool(orders)

    def exchange(self, *, hosts: bool = True) -> None:
        super().exchange(hosts=hosts)
        self.replicate()

    def replicate(self) -> None:
        running = [name for name in NODES if name not in self.off]
        first = next((self.paths[name] for name in running if self.paths[name].role == "prim"), None)
        other = next((self.paths[name] for name in running if self.paths[name].role == "second"), None)
        if first is None:
            return
        is_linked = self.is_linked and not self.parted and other is not None
        first.is_holding = first.is_paired and not is_linked
        if is_linked and other is not None:
            other.writes = set(first.writes)
            other.is_up_to_date = other.is_up_to_date and other.epoch == first.epoch
            if not first.may_stand_alone:
                other.epoch, other.is_up_to_date, first.is_paired = first.epoch, True, True

    def write(self) -> bool:
        """Whether the application that runs somewhere had its write acknowledged."""
        number = len(self.acknowledged) + 1000 * len(self.paths["a"].writes | self.paths["b"].writes)
        done = False
        for name in NODES:
            path = self.paths[name]
            if name in self.off or path.role != "prim":
                continue
            path.writes.add(number)
            self.replicate()
            if not path.is_holding:
                self.acknowledged.add(number)
                done = True
        return done

    def lose_power(self, name: str) -> None:
        self.off.add(name)
        self.disks[name] = engine.durable(self.benches[name].node)

    def come_back(self, name: str) -> None:
        """A new process of the daemon, with what was on the disk."""
        self.off.discard(name)
        path = self.paths[name]
        path.role, path.is_paired, path.may_stand_alone, path.is_holding = "", False, False, False
        self.restart(name, self.disks[name])
        self.seen[name] = 0
        self.asked[name] = 0


class Hosted(Mirrored):
    """As real hosts are: what a resource says comes before the run's end, and a host that is killed is lost."""

    def __init__(self, module: ModuleSpec = WITNESSED) -> None:
        self.slow: set[str] = set()
        """Nodes whose hosts and witness answer nothing for now."""
        self.cannot_fence: set[str] = set()
        self.fencing_takes_s = 0.0
        self._fencing_s: dict[tuple[str, int], float] = {}
        self.full: dict[str, int] = {}
        """Nodes that cannot record any more: the last epoch of who stood alone that each has recorded."""
        self.both_may_run = module.isolation is IsolationPolicy.AVAILABILITY
        super().__init__(module)

    def check(self) -> None:
        if not self.both_may_run:
            super().check()

    def host(self, name: str) -> None:
        for _ in range(60):
            if name in self.off | self.slow or not self._go_on(name):
                self._count()
                self.check()
                return
        raise AssertionError("without end")

    def _go_on(self, name: str) -> bool:
        """Whether there was something to do."""
        bench = self.benches[name]
        if bench.m.host.value == "starting":
            bench.host_ready()
        said = self._obey(name)
        run = bench.m.run
        if run is not None and run.killed:
            bench.host_lost("killed")
        elif run is not None and run.row.name == "fence":
            return self._fence(name, run.number) or self.answer(name) or said
        elif run is not None and run.order is None:
            bench.finish()
        else:
            return self.answer(name) or said
        return True

    def _fence(self, name: str, number: int) -> bool:
        bench = self.benches[name]
        if bench.now_s < self._fencing_s.setdefault((name, number), bench.now_s) + self.fencing_takes_s:
            return False
        if name not in self.cannot_fence:
            self.lose_power(next(other for other in NODES if other != name))
        bench.finish(ok=name not in self.cannot_fence)
        return True

    def answer(self, name: str) -> bool:
        """The witness's answers to what was asked and not answered yet."""
        bench = self.benches[name]
        calls = [action for action in bench.all if isinstance(action, AskWitness) and action.number > self.asked[name]]
        for call in calls:
            self.asked[name] = call.number
            bench.tell(self.third.answer(name, call, bench.now_s))
        return bool(calls)

    def beat(self, name: str) -> Heartbeat:
        """What is not on the disk is not said."""
        beat = super().beat(name)
        if name not in self.full:
            return beat
        last = self.full[name]
        said = ((module, replace(report, alone_epoch=min(report.alone_epoch, last))) for module, report in beat.modules)
        return replace(beat, modules=tuple(said))

    def boot(self, name: str) -> None:
        """The daemon is back, and its host has done nothing yet."""
        self.slow.add(name)
        self.come_back(name)

    def agree_on(self, writes: set[int]) -> None:
        """Both have the same from here on, as after a resynchronisation."""
        self.acknowledged = set(writes)
        for path in self.paths.values():
            path.writes = set(writes)
