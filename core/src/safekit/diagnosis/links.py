"""How the nodes hear each other: networks, silences, and loss times that are too short for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, NodeFacts, PeerFacts
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, span, times

HASTY_S: Final = 0.5
"""A machine under load may be silent for this long without having failed."""
ADVISED: Final = 3.0
"""How many times the longest pause a loss time should be (docs/how-to/real-servers.md)."""
UNSAFE: Final = 2.0
SECOND_NETWORK: Final = "a second network: `safekit cluster network add NAME NODE=ADDRESS ...`"


def check_networks(cluster: ClusterFacts) -> Iterator[Finding]:
    names = {network for facts in cluster.answered for network in facts.networks}
    if len(cluster.nodes) < 2:
        return
    if len(names) == 1:
        yield Finding(
            severity=WARNING,
            name="single-network",
            what=f"all heartbeats take one network, '{next(iter(names))}'",
            why="its failure looks like the failure of a node",
            mend=SECOND_NETWORK,
        )
    for facts in cluster.answered:
        if len(names) > 1 and len(facts.networks) == 1:
            yield Finding(
                severity=WARNING,
                name="node-on-one-network",
                what=f"it is on one network only, '{facts.networks[0]}'",
                why="when that fails it looks like a failed node",
                mend=SECOND_NETWORK,
                nodes=(facts.node,),
            )


def check_hearing(cluster: ClusterFacts) -> Iterator[Finding]:
    """A node that does not answer is told elsewhere, once; here are those that answer."""
    answering = {facts.node for facts in cluster.answered}
    for facts in cluster.answered:
        for peer in facts.peers:
            if peer.node in answering and not peer.alive:
                yield _deaf(facts.node, peer.node, "does not hear")
            elif peer.node in answering and not peer.hears_us:
                yield _deaf(peer.node, facts.node, "says that it does not hear")


def _deaf(node: str, other: str, how: str) -> Finding:
    return Finding(
        severity=ALARM,
        name="not-heard",
        what=f"{node} {how} {other}",
        why="it takes it for lost although it runs",
        mend=f"look at the network between {node} and {other}: port 4800 TCP, firewall, cables",
        nodes=(node,),
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """From one node to another, on a network that both are on."""

    network: str
    sender: str
    hearer: str
    silent_s: float


def check_silent_networks(cluster: ClusterFacts) -> Iterator[Finding]:
    """Nodes that hear each other on one network, and not on another: one finding for each network."""
    ways = list(_ways(cluster))
    for network in dict.fromkeys(way.network for way in ways if way.silent_s):
        silent = [way for way in ways if way.network == network and way.silent_s]
        worst = max(silent, key=lambda way: way.silent_s)
        since = "since it started" if math.isinf(worst.silent_s) else f"for {span(worst.silent_s)}"
        count = f" ({len(silent)} ways are silent)" if len(silent) > 1 else ""
        yield Finding(
            severity=WARNING,
            name="network-silent",
            what=f"the network '{network}' is silent: {worst.hearer} has not heard {worst.sender} on it {since}{count}",
            why="the heartbeats have one way less; when the last one fails the node counts as lost",
            mend=f"look at '{network}' between {worst.hearer} and {worst.sender}: cable, address, firewall",
            nodes=tuple(dict.fromkeys(way.hearer for way in silent)),
        )


def _ways(cluster: ClusterFacts) -> Iterator[_Way]:
    networks = {facts.node: set(facts.networks) for facts in cluster.answered}
    for facts in cluster.answered:
        limit_s = max(facts.lost_after_s, 2 * facts.interval_s)
        for peer in facts.peers:
            for network in sorted(networks.get(peer.node, set()) & networks[facts.node]):
                silent_s = peer.silent_s.get(network, math.inf)
                is_silent = peer.alive and peer.hears_us and silent_s > limit_s
                yield _Way(network, peer.node, facts.node, silent_s if is_silent else 0.0)


def check_loss_times(cluster: ClusterFacts) -> Iterator[Finding]:
    for facts in cluster.answered:
        yield from _losses(facts)
    yield from _gaps(cluster)
    for name, by_node in cluster.modules.items():
        module = next(iter(by_node.values()))
        if module.lost_after_s < HASTY_S and len(module.nodes) > 1:
            yield Finding(
                severity=WARNING,
                name="hasty",
                what=f"heartbeat.lost_after is {span(module.lost_after_s)}",
                why="a node that is only busy may count as lost; the shortest of all modules counts for the node",
                mend="`heartbeat: {lost_after: 1s}` is safe on most machines",
                module=name,
            )


def _losses(facts: NodeFacts) -> Iterator[Finding]:
    lost = ", ".join(f"{peer.node} {times(peer.losses)}" for peer in facts.peers if peer.losses)
    if lost:
        yield Finding(
            severity=WARNING,
            name="lost-and-back",
            what=f"within a day it lost nodes that had not been restarted: {lost}",
            why="a network was cut for longer than the loss time, or one of the machines stood still",
            mend=f"`safekit log --on {facts.node}` shows when; where machines pause, a longer `lost_after:`",
            nodes=(facts.node,),
        )


def _gaps(cluster: ClusterFacts) -> Iterator[Finding]:
    """The worst of all pairs stands for them."""
    found = [(facts, peer) for facts in cluster.answered for peer in facts.peers if _part(facts, peer) * ADVISED > 1]
    if not found:
        return
    facts, peer = max(found, key=lambda pair: _part(*pair))
    yield Finding(
        severity=WARNING if _part(facts, peer) * UNSAFE > 1 else NOTE,
        name="loss-time-short",
        what=f"heartbeats paused for up to {span(peer.longest_gap_s)}: those of {peer.node} on {facts.node}, within "
        f"{span(facts.beats_s)}. A node counts as lost after {span(facts.lost_after_s)}",
        why="a somewhat longer pause is taken for a failure",
        mend=f"`heartbeat: {{lost_after: {_rounded(ADVISED * peer.longest_gap_s)}}}`, or find what delays them",
        nodes=tuple(dict.fromkeys(hearer.node for hearer, _ in found)),
    )


def _part(facts: NodeFacts, peer: PeerFacts) -> float:
    """Of the loss time."""
    return peer.longest_gap_s / max(facts.lost_after_s, 0.001)


def _rounded(seconds: float) -> str:
    """Up, to what a person would write."""
    return f"{math.ceil(seconds * 10) * 100}ms" if seconds < 1 else f"{math.ceil(seconds)}s"
