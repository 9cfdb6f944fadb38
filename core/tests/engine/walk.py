"""Every situation that one node's engine can get into, found by trying everything that can happen in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from safekit import engine
from safekit.engine import NodeState
from safekit.engine.actions import Action, RunPipeline
from safekit.engine.data import EPOCH, UP_TO_DATE
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
    ValueSet,
)
from safekit.engine.module import HostState, Module
from safekit.engine.reports import Heartbeat, ModuleReport
from safekit.engine.spec import MembershipSpec, ModuleSpec

from .kit import IDLE, MODULE, NOT_READY, PRIM, PRIMARY, SECONDARY, STOP, WAITING

INTERVAL_S = 1.0
LOST_AFTER_S = 4.0
LOST_TICKS = 6
NODES = ("a", "b")


@dataclass(frozen=True, slots=True)
class Place:
    """One node at one moment, and how it came there."""

    node: NodeState
    now_s: float
    heard: int
    """How many heartbeats of the peer."""
    path: tuple[str, ...] = ()
    ordered: tuple[RunPipeline, ...] = ()
    """By the last event."""

    @property
    def m(self) -> Module:
        return self.node.modules[MODULE]

    def tell(self, event: Event) -> Place:
        node, actions = engine.step(self.node, event, self.now_s)
        return replace(self, node=node, ordered=(*self.ordered, *_orders(actions)))

    def let_time_pass(self, report: ModuleReport | None) -> Place:
        """One interval, with a heartbeat of the peer unless it is silent."""
        place = replace(self, now_s=self.now_s + INTERVAL_S).tell(TimePassed())
        return place if report is None else place.hear(report)

    def hear(self, report: ModuleReport) -> Place:
        """A peer that answers a claim, knows of every epoch, and hears this node at once."""
        m, number = self.m, self.heard + 1
        said = replace(report, acknowledged=m.claim, epoch=max(report.epoch, m.epoch), alone_epoch=m.alone_epoch)
        echoes = (("a", self.node.incarnation, self.now_s),)
        beat = Heartbeat("b", 1, number, ((MODULE, said),), (("a", number),), self.now_s, echoes)
        return replace(self, heard=number).tell(HeartbeatHeard("net1", beat))

    @property
    def key(self) -> tuple[object, ...]:
        """Places that are alike but for times and numbers."""
        m, peer = self.m, self.node.membership.peers["b"]
        report = peer.modules.get(MODULE)
        run = (m.run.row.name, m.run.killed, m.run.order is None) if m.run is not None else None
        said = (report.state, report.handover) if report is not None and peer.alive else None
        wishes = (m.wanted, m.again, m.chosen, m.only_second)
        doubts = (m.active, m.cleanup, bool(m.claim), bool(m.parting), m.handover)
        return (m.state, m.readiness, m.host, run, said, wishes, doubts)


def _orders(actions: tuple[Action, ...]) -> Iterator[RunPipeline]:
    return (action for action in actions if isinstance(action, RunPipeline))


def begin(spec: ModuleSpec) -> Place:
    node = engine.new_node("a")
    membership = MembershipSpec("a", ("b",), ("net1",), INTERVAL_S, LOST_AFTER_S)
    place = Place(node, 100.0, 0).tell(Configured(membership, (spec,)))
    return place.tell(Started(1, boot=False))


PEER: dict[str, ModuleReport] = {
    "stopped": IDLE,
    "waiting": WAITING,
    "alone": PRIMARY,
    "primary": replace(PRIMARY, state=PRIM),
    "secondary": SECONDARY,
    "handing over": replace(SECONDARY, handover=True),
}
COMMANDS = (
    Command.START,
    Command.STOP,
    Command.STOPSTART,
    Command.SWAP,
    Command.PRIM,
    Command.SECOND,
    Command.RESTART,
)


def nexts(place: Place) -> Iterator[tuple[str, Place]]:
    """Everything that can happen there."""
    yield from ((f"the peer is {name}", place.hear(report)) for name, report in PEER.items())
    yield "the peer is silent", _after_silence(place)
    yield from ((f"the operator says {c}", place.tell(CommandGiven(MODULE, c))) for c in COMMANDS)
    if place.m.host is HostState.STARTING:
        yield "the host is ready", _ready(place)
    if place.m.host is not HostState.NONE:
        yield "the host is lost", place.tell(HostLost(MODULE, "killed"))
    if place.m.run is not None and place.m.run.order is None and place.m.host is HostState.READY:
        yield from ((f"the run {name}", _end(place, **how)) for name, how in ENDS.items())


ENDS: dict[str, dict[str, bool]] = {
    "is done": {"ok": True, "stuck": False},
    "fails": {"ok": False, "stuck": False},
    "is stuck": {"ok": False, "stuck": True},
}


def _ready(place: Place) -> Place:
    """Its data have everything."""
    place = place.tell(HostReady(MODULE))
    if not place.m.spec.has_data:
        return place
    place = place.tell(ValueSet(MODULE, EPOCH, str(place.m.alone_epoch)))
    return place.tell(ValueSet(MODULE, UP_TO_DATE, "up"))


def _end(place: Place, *, ok: bool, stuck: bool) -> Place:
    """What replicates says of which epoch its data are."""
    after = place.tell(_ended(place, ok=ok, stuck=stuck))
    has_said = ok and after.m.spec.has_data and after.m.host is HostState.READY
    return after.tell(ValueSet(MODULE, EPOCH, str(after.m.alone_epoch))) if has_said else after


def _ended(place: Place, *, ok: bool, stuck: bool) -> PipelineFinished:
    assert place.m.run is not None
    return PipelineFinished(MODULE, place.m.run.number, ok, "" if ok else "apache", "", stuck)


def _after_silence(place: Place) -> Place:
    for _ in range(LOST_TICKS):
        place = place.let_time_pass(None)
    return place


def walk(spec: ModuleSpec, most: int) -> list[Place]:
    """Each place once, the nearest first."""
    first = begin(spec)
    found = {first.key: first}
    todo = deque([first])
    while todo and len(found) < most:
        place = todo.popleft()
        for name, after in nexts(replace(place, ordered=())):
            if after.key not in found:
                todo.append(replace(after, path=(*place.path, name)))
                found[after.key] = todo[-1]
    return list(found.values())


def settle(place: Place, report: ModuleReport | None, done: Callable[[Module], bool], ticks: int) -> Place | None:
    """From there on the host does what it is told and the peer says `report`: the place where it is done."""
    for _ in range(ticks):
        place = replace(_obeyed(place), ordered=())
        if done(place.m):
            return place
        place = place.let_time_pass(report)
    return None


def _obeyed(place: Place) -> Place:
    """The host comes up, and answers each run."""
    for _ in range(10):
        if place.m.host is HostState.STARTING:
            place = _ready(place)
        elif place.m.run is not None and place.m.run.killed:
            place = place.tell(HostLost(MODULE, "killed"))
        elif place.m.run is not None and place.m.run.order is None:
            place = _end(place, ok=True, stuck=False)
        else:
            break
    return place


def is_stopped(m: Module) -> bool:
    return m.state is STOP and m.readiness is NOT_READY and not m.active and m.run is None
