"""How the nodes hear each other: networks, silences, and loss times that are too short for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, NodeFacts, PeerFacts
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, span, times

HASTY_S: Final = 0.5
"""A machine under load may be silent for this long without having failed."""
ADVISED: Final = 3.0
"""How many times the longest pause a loss time should be (docs/how-to/real-servers.md)."""
UNSAFE: Final = 2.0
SECOND_NETWORK: Final = (
    "a second network: in cluster.yaml under `networks:` and each node's `addresses:`, with a higher `revision:`; the "
    "same file on every node; then restart safekitd on each"
)


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
    networks = {facts.node: set(facts.networks) for facts in cluster.answered}
    for facts in cluster.answered:
        for peer in facts.peers:
            if peer.node not in networks:
                continue
            if not peer.alive:
                yield _deaf(facts.node, peer.node, "does not hear")
            elif not peer.hears_us:
                yield _deaf(peer.node, facts.node, "says that it does not hear")
            else:
                yield from _silent_networks(facts, peer, networks[peer.node] & networks[facts.node])


def _deaf(node: str, other: str, how: str) -> Finding:
    return Finding(
        severity=ALARM,
        name="not-heard",
        what=f"{node} {how} {other}",
        why="it takes it for lost although it runs",
        mend=f"look at the network between {node} and {other}: port 4800 TCP, firewall, cables",
        nodes=(node,),
    )


def _silent_networks(facts: NodeFacts, peer: PeerFacts, shared: set[str]) -> Iterator[Finding]:
    for network in sorted(shared):
        silent_s = peer.silent_s.get(network, math.inf)
        if silent_s > max(facts.lost_after_s, 2 * facts.interval_s):
            since = "since it started" if math.isinf(silent_s) else f"for {span(silent_s)}"
            yield Finding(
                severity=WARNING,
                name="network-silent",
                what=f"it has not heard {peer.node} on the network '{network}' {since}",
                why="the heartbeats have one way less; when the last one fails the node counts as lost",
                mend=f"look at '{network}' between {facts.node} and {peer.node}: cable, address, firewall",
                nodes=(facts.node,),
            )


def check_loss_times(cluster: ClusterFacts) -> Iterator[Finding]:
    for facts in cluster.answered:
        for peer in facts.peers:
            yield from _losses(facts, peer)
            yield from _gaps(facts, peer)
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


def _losses(facts: NodeFacts, peer: PeerFacts) -> Iterator[Finding]:
    if peer.losses:
        yield Finding(
            severity=WARNING,
            name="lost-and-back",
            what=f"it lost {peer.node} {times(peer.losses)} in a day and heard it again, without a restart of it",
            why="a network was cut for longer than the loss time, or one of the machines stood still",
            mend=f"`safekit log --on {facts.node}` shows when; where machines pause, a longer `lost_after:`",
            nodes=(facts.node,),
        )


def _gaps(facts: NodeFacts, peer: PeerFacts) -> Iterator[Finding]:
    lost_s, gap_s = facts.lost_after_s, peer.longest_gap_s
    if gap_s * ADVISED <= lost_s:
        return
    yield Finding(
        severity=WARNING if gap_s * UNSAFE > lost_s else NOTE,
        name="loss-time-short",
        what=f"heartbeats of {peer.node} paused for {span(gap_s)} within {span(facts.beats_s)}, and it counts as lost "
        f"after {span(lost_s)}",
        why="a somewhat longer pause is taken for a failure",
        mend=f"`heartbeat: {{lost_after: {_rounded(ADVISED * gap_s)}}}`, or find what delays them",
        nodes=(facts.node,),
    )


def _rounded(seconds: float) -> str:
    """Up, to what a person would write."""
    return f"{math.ceil(seconds * 10) * 100}ms" if seconds < 1 else f"{math.ceil(seconds)}s"
