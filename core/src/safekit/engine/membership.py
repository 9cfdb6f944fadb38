"""Who is alive, from heartbeats and one monotonic clock; and whether this node itself was asleep.

A peer is lost when it was silent on every network for `lost_after_s` of LISTENING: time in which this node
was frozen or starved is not listening. All functions are pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from safekit.engine.reports import Heartbeat, ModuleReport
from safekit.engine.spec import MembershipSpec


@dataclass(frozen=True, slots=True)
class Peer:
    node: str
    incarnation: int = -1
    sequence: int = -1
    heard_s: dict[str, float] = field(default_factory=dict)
    """When it was last heard, per network."""
    last_s: float = float("-inf")
    """When it was last heard on any."""
    since_s: float = float("-inf")
    """Since when we have been listening for it."""
    returned_s: float = float("-inf")
    """When it was heard again after a silence."""
    deaf_s: float = float("inf")
    """Since when we have heard it say that it does not hear us."""
    lost_after_s: float = 0.0
    """What it said of its own loss time: its leases are made by that."""
    alive: bool = False
    modules: dict[str, ModuleReport] = field(default_factory=dict)
    seen: tuple[tuple[str, ModuleReport], ...] = ()
    """`modules` as it came, to see at once that nothing changed."""
    hears_us: int = -1
    """The last of our sequence numbers that it had heard."""
    time_s: float = 0.0
    """Its own clock when it sent the last heartbeat that we heard."""
    echo: tuple[int, float] = (0, float("-inf"))
    """Our incarnation and clock when we sent the last heartbeat that it says it heard."""


_NOT_CONFIGURED = MembershipSpec("", (), ())


@dataclass(frozen=True, slots=True)
class Membership:
    spec: MembershipSpec = _NOT_CONFIGURED
    peers: dict[str, Peer] = field(default_factory=dict)
    last_tick_s: float | None = None
    listening_s: float = 0.0
    """Since when this node has been listening without a break."""
    woke_s: float = float("-inf")
    """When the last break ended."""
    former: tuple[float, float] = (0.0, float("-inf"))
    """A longer loss time that was in force, and until when what was done by it may last."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one heartbeat changed. `reports`: also whether its sender has heard of us."""

    membership: Membership
    returned: bool = False
    restarted: bool = False
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Ticked:
    membership: Membership
    lost: tuple[str, ...] = ()
    due: bool = False
    """Time alone changed what is known of a peer."""
    slept_s: float = 0.0
    """Non-zero when this node did not run for so long that it doubts what it did not hear."""


def configure(membership: Membership, spec: MembershipSpec, now_s: float) -> Membership:
    """Peers that are new count as absent only after they have been listened for as long as any other."""
    peers = {name: membership.peers.get(name, Peer(name, since_s=now_s)) for name in spec.peers}
    if membership.last_tick_s is None:
        return replace(membership, spec=spec, peers=peers, listening_s=now_s, last_tick_s=now_s)
    before_s = lapse_s(membership, now_s)
    shorter = spec.lost_after_s < before_s
    former = (before_s, now_s + before_s) if shorter else membership.former
    return replace(membership, spec=spec, peers=peers, former=former)


def lapse_s(membership: Membership, now_s: float) -> float:
    """How long what this node was allowed to do last may go on: the loss time, or one that was longer until lately."""
    former_s, until_s = membership.former
    return max(membership.spec.lost_after_s, former_s if now_s < until_s else 0.0)


def hear(membership: Membership, network: str, beat: Heartbeat, now_s: float) -> Heard:
    """Take one heartbeat in. Those of unknown nodes and of earlier incarnations are ignored."""
    peer = membership.peers.get(beat.node)
    if peer is None or beat.incarnation < peer.incarnation:
        return Heard(membership)
    restarted = beat.incarnation > peer.incarnation >= 0
    newer = beat.incarnation > peer.incarnation or beat.sequence > peer.sequence
    if not newer:
        return Heard(_with_peer(membership, _heard_on(peer, network, now_s)))
    changed = restarted or beat.modules != peer.seen
    hears_us = dict(beat.heard).get(membership.spec.node, -1)
    after = replace(
        _heard_on(peer, network, now_s),
        incarnation=beat.incarnation,
        sequence=beat.sequence,
        alive=True,
        returned_s=peer.returned_s if peer.alive and not restarted else now_s,
        lost_after_s=beat.lost_after_s,
        modules=dict(beat.modules) if changed else peer.modules,
        seen=beat.modules if changed else peer.seen,
        hears_us=hears_us,
        deaf_s=float("inf") if hears_us >= 0 else min(peer.deaf_s, now_s),
        time_s=beat.time_s,
        echo=next(((inc, sent_s) for name, inc, sent_s in beat.echoes if name == membership.spec.node), peer.echo),
    )
    met = _is_acquainted(membership, after) and not _is_acquainted(membership, peer)
    return Heard(_with_peer(membership, after), not peer.alive, restarted, changed or met)


def _heard_on(peer: Peer, network: str, now_s: float) -> Peer:
    return replace(peer, heard_s={**peer.heard_s, network: now_s}, last_s=now_s)


def _with_peer(membership: Membership, peer: Peer) -> Membership:
    return replace(membership, peers={**membership.peers, peer.node: peer})


def tick(membership: Membership, now_s: float) -> Ticked:
    """Let time pass: notice our own sleep first, then the peers' silence."""
    slept_s = overslept_s(membership, now_s)
    due_s = deadline(membership)
    membership = replace(
        membership,
        last_tick_s=now_s,
        listening_s=now_s if slept_s else membership.listening_s,
        woke_s=now_s if slept_s else membership.woke_s,
    )
    lost = tuple(name for name, peer in membership.peers.items() if peer.alive and _silent(membership, peer, now_s))
    for name in lost:
        membership = _with_peer(membership, replace(membership.peers[name], alive=False, deaf_s=float("inf")))
    return Ticked(membership, lost, due_s is not None and due_s <= now_s, slept_s)


def overslept_s(membership: Membership, now_s: float) -> float:
    """How long this node did not run, when it is so long that a peer may have lost it; else 0."""
    last_s = membership.last_tick_s
    gap_s = 0.0 if last_s is None else now_s - last_s
    return gap_s if gap_s > sleep_s(membership.spec) else 0.0


def sleep_s(spec: MembershipSpec) -> float:
    """A shorter pause is jitter: with an interval before and after it, it is still shorter than the loss time."""
    pause_s = min(spec.lost_after_s / 2, spec.lost_after_s - 3 * spec.heartbeat_interval_s)
    return max(pause_s, 2 * spec.heartbeat_interval_s)


def lease_s(spec: MembershipSpec) -> float:
    """For how long after its last heartbeat a node may go on with what the others may take over when they have lost
    it. Shorter than the loss time by what two clocks that each go wrong by 10 % may differ."""
    return 0.75 * spec.lost_after_s


def _silent(membership: Membership, peer: Peer, now_s: float) -> bool:
    return now_s >= _deadline(membership, peer)


def _deadline(membership: Membership, peer: Peer) -> float:
    """The longer of our loss time and its own: they differ while a change of configuration is on its way."""
    lost_after_s = max(membership.spec.lost_after_s, peer.lost_after_s)
    return max(peer.last_s + lost_after_s, _first_deadline(membership, peer))


def _first_deadline(membership: Membership, peer: Peer) -> float:
    """Until then nothing is said of a peer: links come up again only some time after a start or a sleep."""
    first_s = max(membership.spec.lost_after_s, membership.spec.link_up_s)
    return max(peer.since_s, membership.listening_s) + first_s


def deaf(membership: Membership, name: str, now_s: float) -> bool:
    """Heard by us, and for as long as the loss time it has said that it does not hear us."""
    peer = membership.peers.get(name)
    return peer is not None and now_s >= _deaf_deadline(membership, peer)


def _deaf_deadline(membership: Membership, peer: Peer) -> float:
    return max(peer.deaf_s + membership.spec.lost_after_s, _first_deadline(membership, peer))


def acquainted(membership: Membership, name: str) -> bool:
    """Whether the peer has heard of us since it was heard again; believed when it is heard for the loss time."""
    peer = membership.peers.get(name)
    return peer is not None and _is_acquainted(membership, peer)


def _is_acquainted(membership: Membership, peer: Peer) -> bool:
    return peer.echo[1] >= peer.returned_s or peer.last_s >= peer.returned_s + membership.spec.lost_after_s


def awake(membership: Membership, now_s: float) -> bool:
    """Whether what was heard is new: after a sleep what lay in the buffers comes first."""
    return now_s >= membership.woke_s + membership.spec.lost_after_s


def absent(membership: Membership, name: str, now_s: float) -> bool:
    """Not alive, and we have listened long enough to say so."""
    peer = membership.peers.get(name)
    return peer is None or (not peer.alive and now_s >= _deadline(membership, peer))


def deadline(membership: Membership) -> float | None:
    """When time alone will next change what is known: a peer lost, absent or deaf; this node awake again."""
    waits = [membership.woke_s + membership.spec.lost_after_s]
    for peer in membership.peers.values():
        waits += [_deadline(membership, peer), _deaf_deadline(membership, peer)]
    last_s = membership.last_tick_s or 0.0
    return min((due_s for due_s in waits if last_s < due_s < float("inf")), default=None)
