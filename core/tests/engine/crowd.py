"""Several nodes with a farm: their hosts answer at once, but for shares, which are applied when the test says so."""

from __future__ import annotations

from safekit import engine
from safekit.engine.actions import Action, KillHost, Phase, RunPipeline, StartHost, TakeShare
from safekit.engine.events import (
    Command,
    CommandGiven,
    Configured,
    Event,
    HeartbeatHeard,
    HostReady,
    PipelineFinished,
    ShareTaken,
    Started,
    TimePassed,
)
from safekit.engine.module import Module
from safekit.engine.reports import FarmReport, Heartbeat
from safekit.engine.share import bits, owners_of
from safekit.engine.spec import Kind, ModuleSpec

from .kit import INTERVAL_S, LOST_AFTER_S, MODULE, membership, spec

NAMES = ("a", "b", "c")
WEB = spec(kind=Kind.FARM, nodes=NAMES)


class One:
    """One node of the crowd."""

    def __init__(
        self, name: str, durable: engine.Durable | None = None, incarnation: int = 1, module: ModuleSpec = WEB
    ) -> None:
        self.name = name
        self.node = engine.restore(name, durable) if durable else engine.new_node(name)
        self.now_s = 100.0
        self.all: list[Action] = []
        self.order: TakeShare | None = None
        """The order that the host has not answered."""
        self.accepts = 0
        self.incarnation = incarnation
        self.sequence = 0
        self.up = True
        self.answers_runs = True
        self.mute = False
        """It says nothing of the module."""
        self.tell(Configured(membership(name, NAMES), (module,)))
        self.tell(Started(incarnation, boot=False))

    def tell(self, event: Event) -> None:
        self.node, actions = engine.step(self.node, event, self.now_s)
        self.all += actions
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        if isinstance(action, StartHost):
            self.tell(HostReady(MODULE))
        elif isinstance(action, RunPipeline) and self.answers_runs:
            if {Phase.STOP_BOTH, Phase.CLEANUP} & set(action.phases):
                self.accepts, self.order = 0, None
            self.tell(PipelineFinished(MODULE, action.run, ok=True))
        elif isinstance(action, TakeShare):
            self.order = action

    def apply(self, *, ok: bool = True) -> None:
        """The host answers its last order."""
        if self.order is not None:
            order, self.order = self.order, None
            self.accepts = order.held if ok else self.accepts
            self.tell(ShareTaken(MODULE, order.number, ok, "" if ok else "the kernel refused it"))

    @property
    def m(self) -> Module:
        return self.node.modules[MODULE]

    @property
    def report(self) -> FarmReport:
        farm = dict(engine.reports(self.node))[MODULE].farm
        assert farm is not None
        return farm

    @property
    def owned(self) -> int:
        return bits(owners_of(self.report.map), self.name)

    def ordered(self, kind: type[Action]) -> list[Action]:
        return [action for action in self.all if isinstance(action, kind)]

    def beat(self) -> Heartbeat:
        self.sequence += 1
        reports, heard = engine.reports(self.node), engine.heard(self.node)
        return Heartbeat(self.name, self.incarnation, self.sequence, reports, heard, LOST_AFTER_S)


class Crowd:
    def __init__(self, *names: str) -> None:
        self.ones = {name: One(name) for name in names}
        self.cut: set[frozenset[str]] = set()
        self.deaf: set[str] = set()

    def __getitem__(self, name: str) -> One:
        return self.ones[name]

    def command(self, name: str, command: Command) -> None:
        self[name].tell(CommandGiven(MODULE, command, by="test"))

    def exchange(self, *, apply: bool = True) -> None:
        """One interval: all tick, all send, all hear; the hosts apply their shares."""
        running = [one for one in self.ones.values() if one.up]
        for one in running:
            one.now_s += INTERVAL_S
            one.tell(TimePassed())
        beats = [one.beat() for one in running]
        for beat in beats:
            for one in running:
                if one.name != beat.node and one.name not in self.deaf and {one.name, beat.node} not in self.cut:
                    one.tell(HeartbeatHeard("net1", beat))
                    self.check()
        for one in running if apply else ():
            one.apply()
            self.check()

    def check(self) -> None:
        """What a node says that it holds is never less than what its kernel accepts."""
        for one in self.ones.values():
            assert one.mute or one.accepts & ~one.report.held == 0, one.name

    def settle(self, seconds: float = 3.0, *, apply: bool = True) -> None:
        for _ in range(round(seconds / INTERVAL_S)):
            self.exchange(apply=apply)

    def served(self) -> dict[str, int]:
        """How many buckets each node that is up accepts; none is accepted by two."""
        seen = 0
        for one in self.ones.values():
            if one.up:
                assert seen & one.accepts == 0, one.name
                seen |= one.accepts
        return {name: one.accepts.bit_count() for name, one in self.ones.items() if one.up}

    def start(self) -> None:
        for name in self.ones:
            self.command(name, Command.START)
        self.settle()


def killed(one: One) -> bool:
    return bool(one.ordered(KillHost))
