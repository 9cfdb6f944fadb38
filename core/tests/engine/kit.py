"""State in, event, state out: one node under test, and two nodes with the messages between them in the test's hands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from safekit import engine
from safekit.engine.actions import Action, Explain, Phase, RunPipeline, StartHost
from safekit.engine.events import (
    Command,
    CommandGiven,
    Configured,
    Event,
    HeartbeatHeard,
    HostLost,
    HostReady,
    PipelineFinished,
    Started,
    TimePassed,
    VerdictChanged,
)
from safekit.engine.module import Module
from safekit.engine.reports import Heartbeat, ModuleReport, ModuleState, Readiness
from safekit.engine.rules import Rule, Test
from safekit.engine.spec import IsolationPolicy, Kind, MembershipSpec, ModuleSpec

MODULE = "web"
NODES = ("a", "b")
NETWORKS = ("net1", "net2")
INTERVAL_S = 0.1
LOST_AFTER_S = 1.0
STOP, WAIT, ALONE, PRIM, SECOND, UP = ModuleState
NOT_READY, TRANSIENT, READY = Readiness
A = TypeVar("A", bound=Action)

IDLE = ModuleReport(STOP, NOT_READY, epoch=0, active=False, was_primary=False)
WAITING = replace(IDLE, state=WAIT, readiness=TRANSIENT)
PRIMARY = ModuleReport(ALONE, READY, epoch=1, active=True, was_primary=True)
SECONDARY = ModuleReport(SECOND, READY, epoch=1, active=False, was_primary=False)


def spec(**changes: object) -> ModuleSpec:
    plain = ModuleSpec(MODULE, Kind.MIRROR, NODES, start_bound_s=20.0, stop_bound_s=10.0, signature="1")
    return replace(plain, **changes)  # type: ignore[arg-type]


def rule(action: str, resource: str = "http.home", value: str = "down", **changes: object) -> Rule:
    """`if (resource == value) then action`."""
    resource_class, _, ident = resource.partition(".")
    plain = Rule(f"to_{action}", Test("local", resource_class, ident, value, negated=False), action)
    return replace(plain, **changes)  # type: ignore[arg-type]


def membership(name: str, nodes: tuple[str, ...] = NODES, **changes: object) -> MembershipSpec:
    plain = MembershipSpec(name, tuple(n for n in nodes if n != name), NETWORKS, INTERVAL_S, LOST_AFTER_S)
    return replace(plain, **changes)  # type: ignore[arg-type]


@dataclass
class Bench:
    """One node; time and the other node's heartbeats are the test's."""

    name: str = "a"
    spec: ModuleSpec = field(default_factory=spec)
    durable: engine.Durable = field(default_factory=engine.Durable)
    incarnation: int = 1
    boot: bool = False
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.node = engine.restore(self.name, self.durable)
        self.last: tuple[Action, ...] = ()
        self.all: list[Action] = []
        self.peer: ModuleReport | None = None
        self.peer_hears_us = True
        self.peer_echoes = True
        """Its word has come after it heard ours."""
        self.peer_incarnation = 1
        self.sequence = 0
        self.tell(Configured(membership(self.name), (self.spec,)))
        self.tell(Started(self.incarnation, boot=self.boot))

    @property
    def m(self) -> Module:
        return self.node.modules[MODULE]

    @property
    def shown(self) -> tuple[ModuleState, Readiness]:
        return self.m.state, self.m.readiness

    @property
    def report(self) -> ModuleReport:
        return dict(engine.reports(self.node))[MODULE]

    def tell(self, event: Event) -> tuple[Action, ...]:
        self.node, self.last = engine.step(self.node, event, self.now_s)
        self.all += self.last
        return self.last

    def hear(self, report: ModuleReport | None = None, *, network: str = "net1") -> tuple[Action, ...]:
        """One heartbeat of the other node, which says `report` from now on."""
        self.peer = report if report is not None else self.peer
        self.sequence += 1
        modules = ((MODULE, self._of_same_witness(self.peer)),) if self.peer is not None else ()
        heard = ((self.name, self.sequence),) if self.peer_hears_us else ()
        other = next(name for name in NODES if name != self.name)
        echoes = ((self.name, self.incarnation, self.now_s),) if self.peer_echoes else ()
        beat = Heartbeat(other, self.peer_incarnation, self.sequence, modules, heard, echoes=echoes)
        return self.tell(HeartbeatHeard(network, beat))

    def _of_same_witness(self, said: ModuleReport) -> ModuleReport:
        witness = self.spec.witness
        return said if witness is None or said.lease_s else replace(said, lease_s=witness.lease_s)

    def tell_empty_beat(self) -> tuple[Action, ...]:
        """A heartbeat of a daemon that has not said anything of the module yet."""
        self.sequence += 1
        other = next(name for name in NODES if name != self.name)
        return self.tell(HeartbeatHeard("net1", Heartbeat(other, self.peer_incarnation, self.sequence)))

    def silence(self) -> None:
        """The other node is heard no more."""
        self.peer = None

    def pass_time(self, seconds: float) -> list[Action]:
        """Tick by tick, with a heartbeat of the other node per tick unless it is silent."""
        done = len(self.all)
        for _ in range(max(round(seconds / INTERVAL_S), 1)):
            self.now_s += INTERVAL_S
            self.tell(TimePassed())
            if self.peer is not None:
                self.hear()
        return self.all[done:]

    def sleep(self, seconds: float) -> tuple[Action, ...]:
        """The node does not run for so long."""
        self.now_s += seconds
        return self.tell(TimePassed())

    def command(self, command: Command, *, force: bool = False) -> tuple[Action, ...]:
        return self.tell(CommandGiven(MODULE, command, force=force, by="test"))

    def host_ready(self) -> tuple[Action, ...]:
        return self.tell(HostReady(MODULE))

    def host_lost(self, reason: str = "the host ended by itself") -> tuple[Action, ...]:
        return self.tell(HostLost(MODULE, reason))

    def finish(self, *, ok: bool = True, stuck: bool = False, run: int | None = None) -> tuple[Action, ...]:
        """The host's answer to the run under way."""
        assert self.m.run is not None
        number = self.m.run.number if run is None else run
        failed, reason = ("", "") if ok else ("apache", "no such file")
        return self.tell(PipelineFinished(MODULE, number, ok, failed, reason, stuck))

    def verdict(self, resource: str, health: str, reason: str = "") -> tuple[Action, ...]:
        return self.tell(VerdictChanged(MODULE, resource, health, reason))

    def orders(self, actions: list[Action] | None = None) -> list[RunPipeline]:
        return [action for action in (self.all if actions is None else actions) if isinstance(action, RunPipeline)]

    def explained(self) -> list[Explain]:
        return [action for action in self.last if isinstance(action, Explain)]

    def run_all(self) -> None:
        """Let the host answer everything at once, until nothing is under way."""
        for _ in range(20):
            if self.m.host.value == "starting":
                self.host_ready()
            elif self.m.run is not None and self.m.run.order is None:
                self.finish()
            else:
                return
        raise AssertionError("runs without end")


def only(kind: type[A], actions: tuple[Action, ...] | list[Action]) -> A:
    found = [action for action in actions if isinstance(action, kind)]
    assert len(found) == 1, found
    return found[0]


def kinds(actions: tuple[Action, ...] | list[Action]) -> set[type[Action]]:
    return {type(action) for action in actions}


def phases_of(actions: tuple[Action, ...] | list[Action]) -> tuple[Phase, ...]:
    return only(RunPipeline, actions).phases


def stopped(**changes: object) -> Bench:
    """A node that has made sure that nothing runs."""
    bench = Bench(**changes)  # type: ignore[arg-type]
    bench.run_all()
    return bench


def waiting(**changes: object) -> Bench:
    """WAIT, prestart done, before anything of the other node was heard."""
    bench = stopped(**changes)
    bench.command(Command.START)
    bench.run_all()
    return bench


def claiming(**changes: object) -> Bench:
    """WAIT, the claim sent, the other node idle."""
    bench = waiting(**changes)
    bench.hear(IDLE)
    assert bench.m.claim
    return bench


def alone(**changes: object) -> Bench:
    """ALONE Ready, the other node idle."""
    bench = claiming(**changes)
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.run_all()
    bench.hear(IDLE)
    assert bench.shown == (ALONE, READY)
    return bench


def prim(**changes: object) -> Bench:
    """PRIM Ready, the other node SECOND Ready."""
    bench = alone(**changes)
    bench.hear(SECONDARY)
    bench.run_all()
    assert bench.shown == (PRIM, READY)
    return bench


def second(**changes: object) -> Bench:
    """SECOND Ready, the other node PRIM Ready."""
    bench = waiting(**changes)
    bench.hear(PRIMARY)
    bench.run_all()
    bench.hear(replace(PRIMARY, state=PRIM))
    assert bench.shown == (SECOND, READY)
    return bench


def up(**changes: object) -> Bench:
    """A farm's node, UP Ready."""
    bench = waiting(spec=spec(kind=Kind.FARM), **changes)
    assert bench.shown == (UP, READY)
    return bench


AVAILABILITY = spec(isolation=IsolationPolicy.AVAILABILITY)


def start_events() -> tuple[Event, ...]:
    return Started(1, boot=False), CommandGiven(MODULE, Command.START)


def answers(actions: tuple[Action, ...]) -> list[Event]:
    """What a host says that does everything at once."""
    told: list[Event] = []
    for action in actions:
        if isinstance(action, StartHost):
            told.append(HostReady(MODULE))
        elif isinstance(action, RunPipeline):
            told.append(PipelineFinished(MODULE, action.run, ok=True))
    return told


def down() -> Event:
    return VerdictChanged(MODULE, "http.home", "down")


def back_up() -> Event:
    return VerdictChanged(MODULE, "http.home", "up")
