"""One node: membership and modules, and the one function through which everything passes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from safekit.engine import commands, data, events, farm, fence, firing, membership, mirror, progress, right, single
from safekit.engine.actions import Action, Explain
from safekit.engine.around import PeerView, Surroundings
from safekit.engine.durable import Durable, ModuleFacts, facts_of, recalled
from safekit.engine.events import Event
from safekit.engine.membership import Membership
from safekit.engine.module import HostState, Module, Turn, Value
from safekit.engine.reporting import report
from safekit.engine.reports import ModuleReport
from safekit.engine.spec import BootPolicy, Kind, ModuleSpec
from safekit.engine.transitions import PRIMARY, STOP


@dataclass(frozen=True, slots=True)
class NodeState:
    name: str
    incarnation: int = 0
    membership: Membership = field(default_factory=Membership)
    modules: dict[str, Module] = field(default_factory=dict)
    recalled: dict[str, ModuleFacts] = field(default_factory=dict)
    """Durable facts of modules that are not configured at the moment."""
    storage_trouble: str = ""


def new_node(name: str) -> NodeState:
    return NodeState(name)


def restore(name: str, durable: Durable) -> NodeState:
    return NodeState(name, recalled={facts.name: facts for facts in durable.modules})


def durable(node: NodeState) -> Durable:
    facts = {**node.recalled, **{name: facts_of(module) for name, module in node.modules.items()}}
    return Durable(tuple(facts[name] for name in sorted(facts)))


def reports(node: NodeState) -> tuple[tuple[str, ModuleReport], ...]:
    return tuple((name, report(module)) for name, module in sorted(node.modules.items()))


def step(node: NodeState, event: Event, now_s: float) -> tuple[NodeState, tuple[Action, ...]]:
    """Return the node after the event, and the actions that the change calls for.

    `now_s` is monotonic. `modules` of the result is the same object when no module changed.
    Whatever wakes a node that slept, it learns of its sleep before it looks at anything else.
    """
    actions: list[Action] = []
    if membership.overslept_s(node.membership, now_s) or isinstance(event, events.TimePassed):
        node = _tick(node, now_s, actions)
    match event:
        case events.HeartbeatHeard():
            node = _hear(node, event, now_s, actions)
        case events.Configured():
            node = _configure(node, event, now_s, actions)
        case events.Started():
            node = _start(replace(node, incarnation=event.incarnation), event, now_s, actions)
        case events.StorageFailed():
            node = _all(replace(node, storage_trouble=event.reason), now_s, actions)
        case events.StorageRecovered():
            node = _all(replace(node, storage_trouble=""), now_s, actions)
        case events.TimePassed():
            pass
        case _:
            node = _one(node, event, now_s, actions)
    return node, tuple(actions)


def _tick(node: NodeState, now_s: float, actions: list[Action]) -> NodeState:
    ticked = membership.tick(node.membership, now_s)
    node = replace(node, membership=ticked.membership)
    if ticked.slept_s:
        node = _woke(node, ticked.slept_s, actions)
    for peer in ticked.lost:
        actions.append(_noted(node, f"{peer} is lost: silent on every network", "peer-lost", "warning"))
    due = [name for name, module in node.modules.items() if ticked.due or _due(module, now_s)]
    for name in due:
        node = _turn(node, name, now_s, actions)
    return node


def _woke(node: NodeState, slept_s: float, actions: list[Action]) -> NodeState:
    actions.append(
        _noted(
            node,
            f"this node did not run for {slept_s:.2f} s (frozen or starved); it listens before it judges others",
            "own-sleep",
            "warning",
        )
    )
    spec = node.membership.spec
    lost = slept_s > spec.lost_after_s - 2 * spec.heartbeat_interval_s
    lapsed = slept_s > membership.lease_s(spec) - 2 * spec.heartbeat_interval_s
    return replace(node, modules={name: _shaken(module, lost, lapsed) for name, module in node.modules.items()})


def _shaken(module: Module, lost: bool, lapsed: bool) -> Module:
    """After a sleep: nothing that was acknowledged before holds, a primary that was lost doubts itself, and a node of
    a farm whose lease may have run out gives its share up."""
    doubtful = module.doubtful or (lost and module.active and module.spec.kind is Kind.MIRROR)
    incumbent = module.incumbent and module.state in PRIMARY
    runs = module.runs + 1 if module.claim else module.runs
    share = replace(module.share, lapsed=True) if lapsed and module.share.held else module.share
    return replace(module, doubtful=doubtful, incumbent=incumbent, claim=0, runs=runs, share=share)


def _noted(node: NodeState, decision: str, rule: str, severity: str = "info") -> Explain:
    ages = {peer.node: f"incarnation {peer.incarnation}" for peer in node.membership.peers.values()}
    return Explain("", decision, rule, ages, severity=severity)


def _due(module: Module, now_s: float) -> bool:
    """Whether time alone may change this module. A right to run is looked at in every interval."""
    if right.witness_of(module) is not None and (module.active or module.state is not STOP):
        return True
    if module.announced:
        return True
    if module.run is not None:
        return now_s >= module.run.deadline_s or module.share.unsettled
    if fence.is_due(module, now_s):
        return True
    unsettled = module.cleanup or (module.wanted and not module.steady) or module.share.unsettled
    return unsettled or module.handover or bool(module.holding)


def leases(node: NodeState) -> tuple[tuple[str, float], ...]:
    """The farms whose resources may go on accepting clients, each until when. For who has just sent a heartbeat."""
    now_s = node.membership.last_tick_s or 0.0
    until_s = now_s + membership.lease_s(node.membership.spec)
    farms = [(name, until_s) for name, module in node.modules.items() if _has_lease(module)]
    return (*farms, *((name, ends.host_s) for name, ends in rights(node)))


def _has_lease(module: Module) -> bool:
    return module.spec.kind is Kind.FARM and module.host is HostState.READY and not module.share.lapsed


def rights(node: NodeState) -> tuple[tuple[str, right.Limits], ...]:
    """When each module that a witness or a peer lets run here has to have stopped, by this node's clock."""
    now_s = node.membership.last_tick_s or 0.0
    active = [module for module in node.modules.values() if module.active and right.witness_of(module) is not None]
    promises = [right.promised_until_s(_peer(node, module, now_s)) for module in active]
    return tuple((m.spec.name, right.limits(m, promised_s)) for m, promised_s in zip(active, promises, strict=True))


def _deadlines(module: Module) -> list[float]:
    """The moments at which time alone changes this module."""
    answer_s = module.share.awaited_until_s
    answers = [] if answer_s is None else [answer_s]
    if module.run is not None:
        return [module.run.deadline_s, *answers]
    others = (module.fence_s, module.cleanup_s, module.retry_s, module.handover_until_s)
    return [*firing.deadlines(module), *answers, *others]


def next_deadline(node: NodeState) -> float | None:
    """When TimePassed is needed at the latest, besides the regular one of every heartbeat interval."""
    now_s = node.membership.last_tick_s or 0.0
    waits = [due_s for module in node.modules.values() for due_s in _deadlines(module) if due_s > now_s]
    peers_s = membership.deadline(node.membership)
    return min([*waits, *([peers_s] if peers_s is not None else [])], default=None)


def _hear(node: NodeState, event: events.HeartbeatHeard, now_s: float, actions: list[Action]) -> NodeState:
    heard = membership.hear(node.membership, event.network, event.heartbeat, now_s)
    for name, module in node.modules.items() if heard.reports else ():
        kept = right.with_promise(module, _peer(node, module, now_s))
        node = node if kept is module else replace(node, modules={**node.modules, name: kept})
    node = replace(node, membership=heard.membership)
    peer = event.heartbeat.node
    if heard.returned:
        actions.append(_noted(node, f"{peer} is heard on {event.network}", "peer-heard"))
    if heard.restarted:
        actions.append(_noted(node, f"{peer}'s daemon was restarted", "peer-restarted", "warning"))
    if heard.reports or heard.returned:
        for name in node.modules:
            node = _turn(node, name, now_s, actions)
    return node


def _configure(node: NodeState, event: events.Configured, now_s: float, actions: list[Action]) -> NodeState:
    before = node.modules
    modules = {spec.name: _configured(node, spec, now_s) for spec in event.modules}
    gone = {name: facts_of(module) for name, module in before.items() if name not in modules}
    for name in gone:
        turn = Turn(before[name], _around(node, before[name], now_s), now_s)
        turn.drop_host()
        actions += turn.actions
    kept = {name: facts for name, facts in node.recalled.items() if name not in modules}
    node = replace(
        node,
        membership=membership.configure(node.membership, event.membership, now_s),
        modules=modules,
        recalled={**kept, **gone},
    )
    return _all(node, now_s, actions) if node.incarnation else node


def _configured(node: NodeState, spec: ModuleSpec, now_s: float) -> Module:
    present = node.modules.get(spec.name)
    if present is None:
        if (facts := node.recalled.get(spec.name)) is None:
            return Module(spec)
        known = recalled(Module(spec), facts)
        # nothing is known of what a module did that was not configured for a while: it is cleaned up as at a start
        return _to_be_cleaned_up(known, now_s) if node.incarnation else known
    runs = present.state is not STOP or present.run is not None
    moved = present.spec.kind is not spec.kind or (spec.kind is Kind.MIRROR and present.spec.nodes != spec.nodes)
    moved = moved or not spec.stands_on(present.spec)
    changed = present.spec.signature != spec.signature and present.host is not HostState.NONE
    return replace(
        present, spec=spec, reload=present.reload or (changed and runs), again=present.again or (moved and runs)
    )


def _to_be_cleaned_up(module: Module, now_s: float) -> Module:
    share = module.share.unsure(now_s) if module.share.held else module.share
    return replace(module, cleanup=True, cleanup_s=now_s, share=share)


def _start(node: NodeState, event: events.Started, now_s: float, actions: list[Action]) -> NodeState:
    """Something may run from before: every module is cleaned up first."""
    modules = {}
    for name, module in node.modules.items():
        wanted = module.desired
        if event.boot and module.spec.boot is not BootPolicy.AUTO:
            wanted = module.spec.boot is BootPolicy.ON
        unknown = right.unknown(module, now_s)
        modules[name] = replace(_to_be_cleaned_up(module, now_s), desired=wanted, right=unknown)
    return _all(replace(node, modules=modules), now_s, actions)


def _all(node: NodeState, now_s: float, actions: list[Action]) -> NodeState:
    for name in node.modules:
        node = _turn(node, name, now_s, actions)
    return node


def _one(node: NodeState, event: Event, now_s: float, actions: list[Action]) -> NodeState:
    name = getattr(event, "module", "")
    if name not in node.modules:
        return node
    return _turn(node, name, now_s, actions, event)


def _turn(node: NodeState, name: str, now_s: float, actions: list[Action], event: Event | None = None) -> NodeState:
    """Let one module take the event in, and decide."""
    module = node.modules[name]
    if not node.incarnation:
        return node
    turn = Turn(module, _around(node, module, now_s), now_s)
    _learn_epoch(turn)
    if event is not None:
        _take_in(turn, event)
    firing.note_holding(turn)
    progress.limits(turn)
    _DECIDE[turn.m.spec.kind](turn)
    actions += turn.actions
    return node if turn.m is module else replace(node, modules={**node.modules, name: turn.m})


_DECIDE: Final = {Kind.MIRROR: mirror.decide, Kind.FARM: farm.decide, Kind.LIGHT: single.decide}


def _learn_epoch(turn: Turn) -> None:
    """Another was primary since: its epoch is the one to exceed. An active node keeps its own until they met."""
    report = turn.peer.report
    if report is not None:
        data.learn(turn, report)
    if report is not None and report.epoch > turn.m.epoch and not turn.m.active:
        turn.set(epoch=report.epoch, was_primary=False, incumbent=False)


def _take_in(turn: Turn, event: Event) -> None:
    match event:
        case events.HostReady():
            progress.host_ready(turn)
        case events.HostLost():
            progress.host_lost(turn, event.reason)
        case events.PipelineFinished():
            progress.run_ended(turn, event)
        case events.ShareTaken():
            farm.share_taken(turn, event)
        case events.WitnessAnswered():
            right.answered(turn, event)
        case events.WeightSet():
            farm.set_weight(turn, event)
        case events.CommandGiven():
            commands.give(turn, event.command, force=event.force, by=event.by)
        case events.VerdictChanged():
            _set_value(turn, event.resource, Value(event.health, event.reason, turn.now_s, event.facts))
        case events.ValueSet():
            _set_value(turn, event.resource, Value(event.value, f"set by {event.by}", turn.now_s))


def _set_value(turn: Turn, resource: str, value: Value) -> None:
    known = turn.m.values.get(resource)
    if known is not None and known.value == value.value:
        value = replace(value, since_s=known.since_s)
    turn.set(values={**turn.m.values, resource: value})


def _around(node: NodeState, module: Module, now_s: float) -> Surroundings:
    spec = node.membership.spec
    return Surroundings(
        node=node.name,
        incarnation=node.incarnation,
        peer=_peer(node, module, now_s),
        storage_trouble=node.storage_trouble,
        lost_after_s=spec.lost_after_s,
        lapse_s=membership.lapse_s(node.membership, now_s),
        awake=membership.awake(node.membership, now_s),
        others=_others(node, module, now_s),
    )


def _peer(node: NodeState, module: Module, now_s: float) -> PeerView:
    """The module's other node, when it is a mirror that has one."""
    others = [name for name in module.spec.nodes if name != node.name]
    if module.spec.kind is not Kind.MIRROR or not others:
        return PeerView()
    return _seen(node, module, others[0], now_s)


def _others(node: NodeState, module: Module, now_s: float) -> dict[str, PeerView]:
    """All that may serve a farm: the nodes of its list, and any other of the cluster, by an earlier list or by one that
    has not come here yet."""
    if module.spec.kind is not Kind.FARM:
        return {}
    names = dict.fromkeys((*module.spec.nodes, *node.membership.peers))
    return {name: _seen(node, module, name, now_s) for name in names if name != node.name}


def _seen(node: NodeState, module: Module, name: str, now_s: float) -> PeerView:
    known = node.membership.peers.get(name)
    if known is None:
        return PeerView(name)
    return PeerView(
        node=known.node,
        alive=known.alive,
        absent=membership.absent(node.membership, known.node, now_s),
        deaf=membership.deaf(node.membership, known.node, now_s),
        deaf_s=known.deaf_s,
        acquainted=membership.acquainted(node.membership, known.node),
        report=known.modules.get(module.spec.name),
        silent_s=max(now_s - known.last_s, 0.0) if known.incarnation >= 0 else 0.0,
        echo_s=known.echo[1] if known.echo[0] == node.incarnation else float("-inf"),
        promised_s=max(known.last_s, known.since_s),
    )
