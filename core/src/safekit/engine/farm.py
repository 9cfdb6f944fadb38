"""The farm: every node runs the module, and the clients' buckets are shared between those that do.

The map says who serves which bucket. A leader proposes it: the node that made the last one while it serves, else the
first in the module's list that does. Of two maps all take the newer. A bucket that gets another owner is released
before it is acquired: a node acquires a bucket only when every other node that it hears has the same map and says that
it does not hold the bucket, and every node that it does not hear has been silent for longer than its kernel goes on
accepting without the heartbeats of its daemon (the lease). What a node says that it holds is never less than what its
kernel accepts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from safekit.engine import buckets, single
from safekit.engine.actions import KillHost, TakeShare
from safekit.engine.around import PeerView
from safekit.engine.events import ShareTaken, WeightSet
from safekit.engine.module import HostState, Turn
from safekit.engine.reports import FarmMap, FarmReport, Readiness
from safekit.engine.share import Priors, bits, make_map, owners_of, priors_of
from safekit.engine.spec import MAX_WEIGHT
from safekit.engine.transitions import UP

ANSWER_S: Final = 5.0
"""A host that has not applied a share within this time is hung."""
PRIORS: Final = 3
"""How many earlier owners of a bucket may keep their connections."""


def decide(turn: Turn) -> None:
    """Run the module as if it was alone, and take the part of the buckets that the map gives."""
    single.decide(turn)
    _note_mute(turn)
    _set(turn, serving=_serves(turn))
    _learn(turn)
    settled = _propose(turn)
    settled = _order(turn) and settled
    _set(turn, unsettled=not settled)


def _serves(turn: Turn) -> bool:
    """It runs, be it that it is restarted in place. Who slept for too long leaves its part to the others until it has
    listened for long enough: it could sleep again and again."""
    share = turn.m.share
    fit = not share.lapsed and (turn.around.awake or share.held != 0)
    return turn.m.state is UP and (share.serving or turn.m.readiness is Readiness.READY) and fit


def _note_mute(turn: Turn) -> None:
    """Who says nothing of the module may have lost its configuration a moment ago, and serve still."""
    before = dict(turn.m.share.mute)
    mute = [node for node, peer in turn.around.others.items() if peer.alive and _said(peer) is None]
    _set(turn, mute=tuple((node, before.get(node, turn.now_s)) for node in mute))


def _set(turn: Turn, **changes: object) -> None:
    """Change the share; what the others are to know of it is published at once."""
    before = turn.m.share
    turn.set(share=replace(before, **changes))  # type: ignore[arg-type]
    after = turn.m.share
    if (before.map, before.held, before.serving, before.weight) != (after.map, after.held, after.serving, after.weight):
        turn.publish()


# the map


def _rank(turn: Turn, farm_map: FarmMap) -> tuple[int, int, str]:
    """Of two maps the one with the higher rank holds. Every node ranks alike."""
    nodes = turn.m.spec.nodes
    place = nodes.index(farm_map.leader) if farm_map.leader in nodes else len(nodes)
    return farm_map.epoch, -place, farm_map.leader


def _learn(turn: Turn) -> None:
    heard = [said.map for peer in turn.around.others.values() if (said := _said(peer)) is not None]
    newest = max([turn.m.share.map, *heard], key=lambda known: _rank(turn, known))
    if _rank(turn, newest) > _rank(turn, turn.m.share.map):
        _set(turn, map=newest, map_s=turn.now_s)


def _said(peer: PeerView) -> FarmReport | None:
    return peer.report.farm if peer.alive and peer.report is not None else None


def _weights(turn: Turn) -> dict[str, int]:
    """The nodes that serve, in the order of the module's list, with the weight of each."""
    found: dict[str, int] = {}
    for node in turn.m.spec.nodes:
        if node == turn.around.node:
            if turn.m.share.serving:
                found[node] = turn.m.weight
        elif (peer := turn.around.others.get(node)) and (said := _said(peer)) and said.serving:
            found[node] = min(max(said.weight, 0), MAX_WEIGHT)
    return found


def _propose(turn: Turn) -> bool:
    """Make a new map when this node leads, and the present one does not suit. False when that has to wait."""
    known, weights = turn.m.share.map, _weights(turn)
    leader = known.leader if known.leader in weights else next(iter(weights), "")
    if leader != turn.around.node or turn.m.share.lapsed:
        return True
    others, nodes = turn.around.others, turn.m.spec.nodes
    if not sum(weights.values()) and not all(peer.alive for node, peer in others.items() if node in nodes):
        return True  # it is drained, and does not hear who could serve: a map of nobody would hold everywhere
    before = owners_of(known)
    owners = before if _suits(before, weights) else buckets.assign(weights, before)
    director = known.director if known.director in weights else leader
    priors = _priors(turn, before, owners)
    if known.epoch and (owners, priors, director) == (before, priors_of(known), known.director):
        return True
    if known.leader not in {"", leader} and turn.now_s < turn.m.share.map_s + turn.around.lost_after_s:
        return False  # two that do not hear each other, and a third that hears both: one map in that time
    epoch = max([known.epoch, *_epochs(turn)]) + 1
    _set(turn, map=make_map(epoch, leader, owners, priors, director), map_s=turn.now_s)
    _explain(turn, before, owners, weights)
    return True


def _suits(owners: buckets.Owners, weights: dict[str, int]) -> bool:
    counts = Counter(owners)
    lacks = counts.pop("", 0)
    quotas = {node: quota for node, quota in buckets.quotas(weights).items() if quota}
    return dict(counts) == quotas and lacks == (0 if quotas else buckets.BUCKETS)


def _epochs(turn: Turn) -> list[int]:
    return [peer.report.farm.map.epoch for peer in turn.around.others.values() if peer.report and peer.report.farm]


def _priors(turn: Turn, before: buckets.Owners, after: buckets.Owners) -> Priors:
    """Who may still have connections of a bucket: its earlier owners, as long as they run."""
    running = {node for node, peer in turn.around.others.items() if peer.active}
    running |= {turn.around.node} if turn.m.active else set()
    earlier = priors_of(turn.m.share.map)
    return tuple(
        tuple(
            node
            for node in dict.fromkeys(([was] if was != now else []) + list(priors))
            if node in running and node != now
        )[:PRIORS]
        for was, now, priors in zip(before, after, earlier, strict=True)
    )


def _explain(turn: Turn, before: buckets.Owners, owners: buckets.Owners, weights: dict[str, int]) -> None:
    counts = Counter(owners)
    shares = ", ".join(f"{node} {counts[node]}" for node in weights) or "nobody"
    moved = buckets.moved(before, owners)
    if moved:
        turn.say(
            f"map {turn.m.share.map.epoch}: {moved} of {buckets.BUCKETS} buckets get another node; then {shares}",
            "farm-map",
            weights=", ".join(f"{node} {weight}" for node, weight in weights.items()),
        )


# this node's share


def _order(turn: Turn) -> bool:
    """Let the host accept what may be accepted: release what is not ours at once, acquire what nobody holds. False
    when something of it is still to come."""
    _forget(turn)
    share = turn.m.share
    if turn.m.cleanup and share.order is None:
        return share.held == 0  # a host that has started nothing cannot take back what an earlier one had ordered
    if turn.m.host is not HostState.READY or not turn.m.active:
        return share.held == 0
    if turn.m.run is not None and turn.m.run.row.name == "reconfigure":
        return False  # while steps are exchanged the host has none that could apply it
    if share.awaited_until_s is not None:
        if turn.now_s >= share.awaited_until_s:
            _give_up(turn, f"the share was not applied within {ANSWER_S:g} s")
        return False
    accepted = share.order.held if share.order is not None else share.held
    if not share.serving and not accepted and (share.order is None or share.order.epoch == share.map.epoch):
        return True
    target = bits(owners_of(share.map), turn.around.node) if share.serving and not share.lapsed else 0
    wanted = (accepted & target) | (target & ~accepted & _free(turn))
    return not _give(turn, wanted) and wanted == target and not share.lapsed


def _forget(turn: Turn) -> None:
    """What the kernel accepted when it was last known has lapsed: nobody has extended the lease since."""
    share = turn.m.share
    if share.unsure_s is not None and share.held and turn.now_s >= share.unsure_s + turn.around.lapse_s:
        _set(turn, held=0)


def _give(turn: Turn, wanted: int) -> bool:
    """Order it, unless that is what is in force. True when an answer is to come."""
    share = turn.m.share
    owners, priors = owners_of(share.map), priors_of(share.map)
    order = TakeShare(
        turn.m.spec.name,
        share.number + 1,
        share.map.epoch,
        wanted,
        bits(owners, turn.around.node) & ~wanted | sum(1 << b for b, earlier in enumerate(priors) if earlier),
        owners,
        priors,
        share.map.director,
        _places(turn),
    )
    if share.order is not None and replace(share.order, number=order.number) == order:
        return False
    turn.actions.append(order)
    until_s = turn.now_s + ANSWER_S
    _set(turn, order=order, number=order.number, held=share.held | wanted, awaited_until_s=until_s)
    return True


def _free(turn: Turn) -> int:
    """The buckets that nobody else holds or can come to hold."""
    if not turn.around.awake:
        return 0  # it slept, and may be hearing what others said long ago
    known, free = turn.m.share.map, ~0
    for peer in turn.around.others.values():
        if not peer.alive:
            free &= ~0 if peer.absent else 0
        elif (said := _said(peer)) is not None:
            same = peer.deaf or (said.map.epoch, said.map.leader) == (known.epoch, known.leader)
            free &= ~said.held if same else 0
    long_ago_s = turn.now_s - turn.around.lost_after_s
    return free if all(since_s <= long_ago_s for _, since_s in turn.m.share.mute) else 0


def _places(turn: Turn) -> tuple[tuple[str, str, str], ...]:
    others = turn.around.others.items()
    return tuple((node, *place) for node, peer in others if (said := _said(peer)) for place in said.places)


def share_taken(turn: Turn, event: ShareTaken) -> None:
    share = turn.m.share
    if event.number != share.number or share.awaited_until_s is None or share.order is None:
        return
    if not event.ok:
        _give_up(turn, f"the share could not be applied: {event.reason}")
        return
    held = share.order.held
    _set(turn, held=held, awaited_until_s=None, unsure_s=None, lapsed=share.lapsed and held != 0)
    if held == bits(owners_of(share.map), turn.around.node) and share.serving:
        turn.say(f"serves {held.bit_count()} of {buckets.BUCKETS} buckets", "farm-share", map=str(share.map.epoch))


def _give_up(turn: Turn, why: str) -> None:
    """What the kernel accepts is not known: there is no lease any more, the host is ended, and everything is stopped by
    force."""
    _set(turn, awaited_until_s=None, unsure_s=turn.m.share.unsure_since(turn.now_s), lapsed=True)
    turn.say(f"{why}; the module's host is ended", "farm-share", severity="alarm")
    turn.actions.append(KillHost(turn.m.spec.name, why))


def set_weight(turn: Turn, event: WeightSet) -> None:
    _set(turn, weight=event.weight)
    said = "as configured" if event.weight is None else str(event.weight)
    turn.say(f"weight of this node: {said}", "farm-weight", by=event.by)
