"""Two nodes whose hosts answer at once, and whose heartbeats travel when the test says so."""

from __future__ import annotations

from safekit import engine
from safekit.engine.events import Command, HeartbeatHeard
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import ModuleSpec

from .kit import INTERVAL_S, MODULE, NODES, READY, Bench, spec


class Pair:
    def __init__(self, module: ModuleSpec | None = None) -> None:
        module = module or spec()
        self.benches = {name: Bench(name, module) for name in NODES}
        self._sequence = 0
        self.most_active = 0
        for name in NODES:
            self.host(name)

    def __getitem__(self, name: str) -> Bench:
        return self.benches[name]

    def command(self, name: str, command: Command, *, force: bool = False) -> None:
        self.benches[name].command(command, force=force)
        self._count()

    def host(self, name: str) -> None:
        self.benches[name].run_all()
        self._count()

    def beat(self, name: str) -> Heartbeat:
        """What the node would send now."""
        bench = self.benches[name]
        self._sequence += 1
        return Heartbeat(
            name,
            bench.incarnation,
            self._sequence,
            engine.reports(bench.node),
            engine.heard(bench.node),
            time_s=bench.now_s,
            echoes=engine.echoes(bench.node),
        )

    def deliver(self, beat: Heartbeat, *, to: str) -> None:
        self.benches[to].tell(HeartbeatHeard("net1", beat))
        self._count()

    def exchange(self, *, hosts: bool = True) -> None:
        """One interval: both tick, both send, both hear; the hosts answer."""
        for bench in self.benches.values():
            bench.pass_time(INTERVAL_S)
        beats = {name: self.beat(name) for name in NODES}
        self.deliver(beats["a"], to="b")
        self.deliver(beats["b"], to="a")
        for name in NODES if hosts else ():
            self.host(name)

    def settle(self, seconds: float = 5.0) -> None:
        for _ in range(round(seconds / INTERVAL_S)):
            self.exchange()

    def part(self, seconds: float) -> None:
        """Neither hears the other for so long; the hosts answer."""
        for _ in range(round(seconds / INTERVAL_S)):
            for name, bench in self.benches.items():
                bench.pass_time(INTERVAL_S)
                self.host(name)

    def restart(self, name: str, disk: engine.Durable) -> None:
        """The daemon comes back, with what is on its disk."""
        old = self.benches[name]
        self.benches[name] = Bench(name, old.spec, disk, old.incarnation + 1, boot=True, now_s=old.now_s)
        self.host(name)

    def active(self) -> set[str]:
        return {name for name, bench in self.benches.items() if bench.report.active}

    def _count(self) -> None:
        self.most_active = max(self.most_active, len(self.active()))

    def states(self) -> dict[str, tuple[str, str]]:
        return {name: (str(b.m.state), str(b.m.readiness)) for name, b in self.benches.items()}

    def start(self) -> None:
        """Until a is PRIM and b is SECOND, both Ready."""
        for name in NODES:
            self.command(name, Command.START)
        self.settle()
        assert self.states() == {"a": ("PRIM", READY), "b": ("SECOND", READY)}
        assert MODULE in self["a"].node.modules
