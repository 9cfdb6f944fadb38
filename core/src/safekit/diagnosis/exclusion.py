"""Whether two nodes may run a mirror at once, or none: witness, isolation, fencing, and the times between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, MachineFacts, ModuleFacts, NodeFacts, WitnessFacts
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, span

ASKED_EVERY: Final = 0.1
STOPS_AT: Final = 0.5
FENCED_AFTER: Final = 0.2
"""Parts of a lease: how often it is renewed; how long after the last renewal the forced stop begins; how long that has
before the node is reset. As the engine has them (ADR 8)."""
ADD_WITNESS: Final = (
    "a witness: `safekit-witness` on a third machine, then `witness: {lease: …}` in the module file (how-to: Add a "
    "witness)"
)


def check_witnesses(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            if module.witness is not None and module.witness.value == "down":
                yield Finding(
                    severity=ALARM,
                    name="witness-unreachable",
                    what=f"the witness '{module.witness.resource}' cannot be reached: {module.witness.reason}",
                    why="nothing stops while both nodes hear each other, but no node can take over from a dead one",
                    mend="look whether the witness runs and whether this node reaches it; it is asked again by itself",
                    nodes=(node,),
                    module=name,
                )


def check_isolation(cluster: ClusterFacts) -> Iterator[Finding]:
    """What a mirror of two nodes does when these do not hear each other."""
    for name, by_node in cluster.modules.items():
        module = next(iter(by_node.values()))
        if module.kind != "mirror" or len(module.nodes) != 2:
            continue
        if module.witness is None:
            yield _without_witness(name, module)
            if not module.has_fence:
                yield _without_fence(name)
        elif not module.witness.exclusive:
            yield _not_exclusive(name, module, module.witness)


def _without_witness(name: str, module: ModuleFacts) -> Finding:
    if module.has_fence:
        return Finding(
            severity=NOTE,
            name="no-witness-fenced",
            what="there is no witness; a silent node is fenced before it is taken over from",
            why="when only the network between the nodes fails one cuts the other's power; while the device is silent "
            "nothing is taken over",
            mend=f"nothing has to be done. To keep both nodes up in that case: {ADD_WITNESS}",
            module=name,
        )
    if module.isolation == "safety":
        return Finding(
            severity=WARNING,
            name="no-witness-safety",
            what="there is no witness, and isolation is 'safety'",
            why="when the primary's machine dies nothing takes over by itself, because that and a cut network look "
            "the same",
            mend=f"{ADD_WITNESS}. Or `isolation: availability`, if two running copies harm less than none",
            module=name,
        )
    return Finding(
        severity=WARNING,
        name="no-witness-availability",
        what="there is no witness, and isolation is 'availability'",
        why="when only the network between the nodes fails both run the module and write; in the end one of them loses "
        "what it wrote",
        mend=ADD_WITNESS,
        module=name,
    )


def _without_fence(name: str) -> Finding:
    return Finding(
        severity=NOTE,
        name="no-fence",
        what="there is neither a witness nor a fence device",
        why="a silent node cannot be made certain to be off, and one that hangs may wake up and go on",
        mend="a step `fence`, where the nodes have power switches or management boards: safekit-resource-fence",
        module=name,
    )


def _not_exclusive(name: str, module: ModuleFacts, witness: WitnessFacts) -> Finding:
    return Finding(
        severity=NOTE if module.has_fence else WARNING,
        name="witness-not-exclusive",
        what=f"the witness '{witness.plugin}' does not exclude two primaries",
        why="it sees that a node is isolated; when only the network between the nodes fails, both reach it and both run"
        + (", until the step `fence` has cut one" if module.has_fence else ""),
        mend="a witness that gives one lease, `lease` or `etcd` (how-to: Add a witness)",
        module=name,
    )


def check_self_fence(cluster: ClusterFacts) -> Iterator[Finding]:
    """A primary whose right ended and that cannot be stopped: who ends it?"""
    for facts in cluster.answered:
        decided = [m for m in facts.modules if m.witness is not None and m.witness.exclusive and len(m.nodes) == 2]
        if decided:
            yield from _last_resort(facts.node, facts.machine, decided)


def _last_resort(node: str, machine: MachineFacts, decided: list[ModuleFacts]) -> Iterator[Finding]:
    shortest_s = min(m.witness.lease_s for m in decided if m.witness is not None)
    has_watchdog = machine.watchdog != "off" and machine.watchdog_present
    if machine.watchdog == "required" and not has_watchdog:
        yield Finding(
            severity=ALARM,
            name="watchdog-missing",
            what=f"SAFEKIT_WATCHDOG is 'required', and there is no {machine.watchdog_device}",
            why="nothing resets the node when safekitd itself stands still while the right to run ends",
            mend="load the watchdog's driver, or `softdog`; or SAFEKIT_WATCHDOG=automatic",
            nodes=(node,),
        )
    if machine.self_fence == "reboot" and not machine.sysrq_writable:
        yield Finding(
            severity=ALARM,
            name="self-fence-impossible",
            what=f"SAFEKIT_SELF_FENCE is 'reboot', and {machine.sysrq} cannot be written",
            why="the node cannot reset itself when something does not stop",
            mend=f"run safekitd where it may write {machine.sysrq}, or give the node a watchdog",
            nodes=(node,),
        )
    if not has_watchdog and machine.self_fence == "none":
        yield _no_way_out(node, shortest_s)
    elif not has_watchdog:
        yield Finding(
            severity=NOTE,
            name="no-watchdog",
            what="there is no hardware watchdog; SAFEKIT_SELF_FENCE=reboot resets the node",
            why="that needs a safekitd that runs: if it stands still, only the module's host stops what runs",
            mend="nothing has to be done. A watchdog (SAFEKIT_WATCHDOG=required) also covers that",
            nodes=(node,),
        )


def _no_way_out(node: str, lease_s: float) -> Finding:
    return Finding(
        severity=WARNING,
        name="no-self-fence",
        what="there is no hardware watchdog, and SAFEKIT_SELF_FENCE is 'none'",
        why=f"a forced stop has {span(FENCED_AFTER * lease_s)}; what then still runs (it hangs in the kernel, on a "
        "dead disk) goes on running, and after the lease the other node runs it too",
        mend="SAFEKIT_SELF_FENCE=reboot in the environment of safekitd, or a watchdog (how-to: Add a witness)",
        nodes=(node,),
    )


def check_margins(cluster: ClusterFacts) -> Iterator[Finding]:
    """Whether a lease outlives what may delay its renewal."""
    for facts in cluster.answered:
        for module in facts.modules:
            if module.witness is not None and len(module.nodes) == 2:
                yield from _margins(facts, module, module.witness)


def _margins(facts: NodeFacts, module: ModuleFacts, witness: WitnessFacts) -> Iterator[Finding]:
    left_s = STOPS_AT * witness.lease_s
    if 2 * witness.timeout_s + ASKED_EVERY * witness.lease_s > left_s:
        yield Finding(
            severity=WARNING,
            name="lease-short-for-timeout",
            what=f"two calls of the witness that time out ({span(witness.timeout_s)} each) end the right to run",
            why=f"a primary without its peer is stopped {span(left_s)} after the last renewal, although the witness is "
            "only slow",
            mend=f"`timeout:` of the witness below {span(0.2 * witness.lease_s)}, or a longer `lease:`",
            module=module.name,
        )
    gap_s = max((peer.longest_gap_s for peer in facts.peers if peer.node in module.nodes), default=0.0)
    if gap_s > left_s / 2:
        advised_s = math.ceil(max(8 * gap_s, witness.lease_s + 1))
        yield Finding(
            severity=WARNING,
            name="lease-short-for-gaps",
            what=f"a lease of {span(witness.lease_s)} is short for heartbeats that paused for {span(gap_s)}",
            why=f"without the witness a primary is stopped when its peer was silent for {span(left_s)}",
            mend=f"`lease: {advised_s}s`, or find what delays heartbeats",
            nodes=(facts.node,),
            module=module.name,
        )
