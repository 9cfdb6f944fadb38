"""What people see: typed views of a node's state, with times turned into ages."""

from __future__ import annotations

from dataclasses import dataclass, field

from safekit.engine.module import Module
from safekit.engine.node import NodeState
from safekit.engine.reports import ModuleReport
from safekit.engine.share import owners_of, priors_of
from safekit.engine.spec import Kind
from safekit.engine.transitions import SECOND


@dataclass(frozen=True, slots=True)
class ValueView:
    resource: str
    value: str
    reason: str
    since_s: float
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModuleView:
    name: str
    kind: str
    nodes: tuple[str, ...]
    state: str
    readiness: str
    reason: str
    since_s: float
    """Seconds in this state."""
    epoch: int
    active: bool
    desired: bool
    failover: bool
    running: str
    """The transition under way; empty when none is."""
    loops: int
    """Automatic restarts that count against max_loops."""
    values: tuple[ValueView, ...]
    farm: FarmView | None


@dataclass(frozen=True, slots=True)
class FarmView:
    """A farm as this node knows it."""

    epoch: int
    leader: str
    director: str
    owners: tuple[str, ...]
    """The node that each bucket belongs to; empty for none."""
    serving: bool
    weight: int
    held: int
    """How many buckets its kernel accepts."""
    moving: int
    """How many buckets have another owner than some connections."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    node: str
    alive: bool
    incarnation: int
    networks: dict[str, float]
    """Seconds since it was last heard, per network."""
    hears_us: int
    modules: dict[str, ModuleReport]


def view(node: NodeState, name: str, now_s: float) -> ModuleView | None:
    module = node.modules.get(name)
    return None if module is None else _view(module, now_s)


def _view(m: Module, now_s: float) -> ModuleView:
    return ModuleView(
        name=m.spec.name,
        kind=str(m.spec.kind),
        nodes=m.spec.nodes,
        state=str(m.state),
        readiness=str(m.readiness),
        reason=m.reason,
        since_s=round(max(now_s - m.since_s, 0.0), 3),
        epoch=m.epoch,
        active=m.active,
        desired=m.desired,
        failover=m.failover,
        running=m.run.row.name if m.run else "",
        loops=len(m.loops),
        values=tuple(
            ValueView(name, value.value, value.reason, round(now_s - value.since_s, 3), value.facts)
            for name, value in sorted(m.values.items())
        ),
        farm=_farm_view(m) if m.spec.kind is Kind.FARM else None,
    )


def _farm_view(m: Module) -> FarmView:
    known = m.share.map
    return FarmView(
        epoch=known.epoch,
        leader=known.leader,
        director=known.director,
        owners=owners_of(known),
        serving=m.share.serving,
        weight=m.weight,
        held=m.share.held.bit_count(),
        moving=sum(bool(earlier) for earlier in priors_of(known)),
    )


def peers(node: NodeState, now_s: float) -> tuple[PeerStatus, ...]:
    return tuple(
        PeerStatus(
            node=peer.node,
            alive=peer.alive,
            incarnation=peer.incarnation,
            networks={network: round(now_s - at_s, 3) for network, at_s in sorted(peer.heard_s.items())},
            hears_us=peer.hears_us,
            modules=peer.modules,
        )
        for peer in node.membership.peers.values()
    )


def awaited(node: NodeState) -> tuple[str, ...]:
    """Modules that stopped here and whose peer can only take them over with this node's acknowledgement: a daemon
    that ends before it has given it leaves them to the isolation policy."""
    return tuple(name for name, module in sorted(node.modules.items()) if _is_awaited(node, module))


def _is_awaited(node: NodeState, module: Module) -> bool:
    others = [node.membership.peers.get(name) for name in module.spec.nodes if name != node.name]
    for peer in others:
        report = peer.modules.get(module.spec.name) if peer is not None and peer.alive else None
        if report is not None and not report.active and (report.claim or report.state is SECOND):
            return module.spec.kind is Kind.MIRROR and not module.active
    return False


def echoes(node: NodeState) -> tuple[tuple[str, int, float], ...]:
    """Of each living peer the incarnation, and its clock when it sent the last heartbeat that was heard."""
    return tuple((peer.node, peer.incarnation, peer.time_s) for peer in node.membership.peers.values() if peer.alive)


def heard(node: NodeState) -> tuple[tuple[str, int], ...]:
    """The last sequence number heard from each living peer, for our heartbeats."""
    return tuple((peer.node, peer.sequence) for peer in node.membership.peers.values() if peer.alive)
