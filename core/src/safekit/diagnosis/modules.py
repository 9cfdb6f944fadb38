"""Whether each module runs where it should, and what would happen at the next failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, ModuleFacts
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, span

ByNode = dict[str, ModuleFacts]
PRIMARY: Final = frozenset({"ALONE", "PRIM"})
NOT_RUNNING: Final = frozenset({"STOP", "WAIT"})


def check_twice(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        running = tuple(node for node, module in by_node.items() if module.kind == "mirror" and module.state in PRIMARY)
        if len(running) > 1:
            yield Finding(
                severity=ALARM,
                name="runs-twice",
                what=f"it runs on {' and '.join(running)}",
                why="both write; in the end one of them loses what it wrote",
                mend="mend the network between them: one stops by itself then. To choose now: "
                f"`safekit module stop {name} --on {running[-1]}`, or the other",
                nodes=running,
                module=name,
            )


def check_unseen(cluster: ClusterFacts) -> Iterator[Finding]:
    """A mirror that runs here, while nothing is known of its other node and nothing keeps that one from running it."""
    answered = {facts.node for facts in cluster.answered}
    heard = {(facts.node, peer.node) for facts in cluster.answered for peer in facts.peers if peer.alive}
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            others = [one for one in module.nodes if one not in answered and (node, one) not in heard]
            if not others or module.state not in PRIMARY or not _may_run_twice(module):
                continue
            yield Finding(
                severity=ALARM,
                name="may-run-twice",
                what=f"it runs here, and {others[0]} may run it as well: it neither answers nor is it heard",
                why="if only the network is cut both write; in the end one of them loses what it wrote",
                mend=f"find out whether {others[0]} is off; if not, `safekit module stop {name}` on one of the two",
                nodes=(node,),
                module=name,
            )


def _may_run_twice(module: ModuleFacts) -> bool:
    """Whether its settings let both nodes of a mirror run it while they do not hear each other."""
    if module.kind != "mirror" or module.has_fence:
        return False
    return module.isolation == "availability" if module.witness is None else not module.witness.exclusive


def check_running(cluster: ClusterFacts) -> Iterator[Finding]:
    """Started and running nowhere; or, where each node runs it for itself, not running on one."""
    for name, by_node in cluster.modules.items():
        wanted = {node: module for node, module in by_node.items() if module.desired}
        if not wanted:
            yield from _stopped_everywhere(name, by_node)
        elif not any(module.runs for module in by_node.values()):
            yield _nowhere(name, wanted)
        elif next(iter(by_node.values())).kind != "mirror":
            yield from _not_here(name, wanted)


def _stopped_everywhere(name: str, by_node: ByNode) -> Iterator[Finding]:
    if not any(_gave_up(module) for module in by_node.values()):
        yield Finding(
            severity=NOTE,
            name="stopped",
            what="it is stopped",
            why="an operator stopped it, or never started it",
            mend=f"`safekit module start {name} --all`",
            nodes=tuple(by_node),
            module=name,
        )


def _nowhere(name: str, wanted: ByNode) -> Finding:
    under_way = any(module.readiness == "Transient" for module in wanted.values())
    said = "; ".join(f"{node}: {_said(module)}" for node, module in wanted.items())
    return Finding(
        severity=WARNING if under_way else ALARM,
        name="runs-nowhere",
        what=f"it is started and runs nowhere{' yet' if under_way else ''} ({said})",
        why="it serves nobody",
        mend=f"`safekit why {name} --on {next(iter(wanted))}` has the reason; how-to: At 3 a.m., what ends each state",
        nodes=tuple(wanted),
        module=name,
    )


def _not_here(name: str, wanted: ByNode) -> Iterator[Finding]:
    for node, module in wanted.items():
        if not module.runs:
            yield Finding(
                severity=WARNING if module.kind == "farm" else ALARM,
                name="not-running",
                what=f"it is started and does not run here ({_said(module)})",
                why="the other nodes carry its part" if module.kind == "farm" else "no other node runs it in its place",
                mend=f"`safekit why {name} --on {node}`",
                nodes=(node,),
                module=name,
            )


def _said(module: ModuleFacts) -> str:
    return f"{module.state} {module.readiness}: {module.reason}".rstrip(": ")


def check_stuck(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            if module.kind == "mirror" and module.active and module.state in NOT_RUNNING:
                yield Finding(
                    severity=ALARM,
                    name="stuck",
                    what=f"something of it may still run ({_said(module)})",
                    why="until it has ended, the other node must not start it",
                    mend=f"end by hand what `safekit status {name} --steps` shows as failed; it goes on by itself",
                    nodes=(node,),
                    module=name,
                )


def check_restarts(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            if _gave_up(module):
                yield Finding(
                    severity=ALARM,
                    name="gave-up",
                    what=f"it stopped after {module.loops} automatic restarts; max_loops is {module.max_loops}",
                    why="the application failed again and again, and the node does not try any more",
                    mend=f"`safekit log {name} --on {node}` says why; then `safekit module start {name} --on {node}`",
                    nodes=(node,),
                    module=name,
                )
            elif module.loops >= module.max_loops:
                yield Finding(
                    severity=WARNING,
                    name="restarts-used-up",
                    what=f"it has had {module.loops} automatic restarts; max_loops is {module.max_loops}",
                    why="at the next failure it stops on this node",
                    mend=f"`safekit log {name} --on {node}` says why; the next command given to it begins a new count",
                    nodes=(node,),
                    module=name,
                )


def _gave_up(module: ModuleFacts) -> bool:
    return module.state == "STOP" and not module.desired and module.loops > module.max_loops


def check_holding(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            if module.holding:
                yield Finding(
                    severity=ALARM,
                    name="writes-held",
                    what="it acknowledges no write: its secondary does not answer",
                    why="the application hangs in its writes, until the secondary answers or counts as lost",
                    mend=f"look at the other node's disk and network; `safekit status {name} --steps` shows more",
                    nodes=(node,),
                    module=name,
                )


def check_standby(cluster: ClusterFacts) -> Iterator[Finding]:
    """Whether the other node of a mirror could take over now."""
    for name, by_node in cluster.modules.items():
        module = next(iter(by_node.values()))
        if module.kind == "mirror" and len(module.nodes) == 1:
            yield _lone(name, module)
        elif module.kind == "mirror" and any(one.runs for one in by_node.values()):
            yield from _spares(name, by_node)


def _lone(name: str, module: ModuleFacts) -> Finding:
    return Finding(
        severity=WARNING,
        name="one-node",
        what=f"it is a mirror with one node, {module.nodes[0]}",
        why="nothing can take over",
        mend="a second node in `nodes:`; or `kind: light`, which says the same and is not told",
        nodes=module.nodes,
        module=name,
    )


def _spares(name: str, by_node: ByNode) -> Iterator[Finding]:
    for node, module in by_node.items():
        if module.state in PRIMARY or _gave_up(module):
            continue
        if not module.up_to_date and module.desired:
            yield Finding(
                severity=WARNING,
                name="not-up-to-date",
                what=f"its data are not up to date here ({_said(module)})",
                why="it may lack writes that were acknowledged, so it does not take over",
                mend=f"wait until it is synchronised; `safekit status {name} --steps` shows how far it is",
                nodes=(node,),
                module=name,
            )
        elif module.state != "SECOND" or module.readiness != "Ready":
            yield _no_spare(name, node, module)


def _no_spare(name: str, node: str, module: ModuleFacts) -> Finding:
    start = f"`safekit module start {name} --on {node}`"
    return Finding(
        severity=WARNING,
        name="no-standby",
        what=f"this node could not take over now ({_said(module)})",
        why="if the node that runs it fails, nothing runs it",
        mend=f"`safekit why {name} --on {node}` has the reason" if module.desired else start,
        nodes=(node,),
        module=name,
    )


def check_failover(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        off = tuple(node for node, module in by_node.items() if not module.failover)
        if off:
            yield Finding(
                severity=WARNING,
                name="failover-off",
                what="automatic failover is switched off",
                why="when the primary fails nothing takes over until an operator says so",
                mend=f"`safekit module failover {name} on`",
                nodes=off,
                module=name,
            )


def check_resources(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        for node, module in by_node.items():
            for trouble in module.troubles:
                because = f": {trouble.reason}" if trouble.reason else ""
                yield Finding(
                    severity=WARNING,
                    name="resource-down",
                    what=f"{trouble.resource} is {trouble.value}{because}",
                    why="a rule may act on it, or something that the module needs is not there",
                    mend=f"mend what it watches; `safekit status {name} --steps` shows it",
                    nodes=(node,),
                    module=name,
                )


def check_farms(cluster: ClusterFacts) -> Iterator[Finding]:
    for name, by_node in cluster.modules.items():
        serving = [node for node, module in by_node.items() if module.farm is not None and module.farm.serving]
        for node, module in by_node.items():
            if module.farm is None:
                continue
            if module.farm.weight == 0 and module.desired:
                yield _drained(name, node)
            if node in serving and module.farm.unowned and module.runs:
                yield Finding(
                    severity=WARNING,
                    name="buckets-unowned",
                    what=f"{module.farm.unowned} of 256 parts of its clients belong to no node",
                    why="these clients are not served; it is so for a moment while nodes come and go",
                    mend=f"`safekit farm show {name}`, and again a few seconds later",
                    nodes=(node,),
                    module=name,
                )
        if len(serving) == 1 and len(next(iter(by_node.values())).nodes) > 1:
            yield _last_server(name, serving[0])


def _drained(name: str, node: str) -> Finding:
    return Finding(
        severity=NOTE,
        name="drained",
        what="its weight here is 0",
        why="this node gets no new clients",
        mend=f"`safekit farm undrain {node}`, when the work on it is done",
        nodes=(node,),
        module=name,
    )


def _last_server(name: str, node: str) -> Finding:
    return Finding(
        severity=WARNING,
        name="one-server",
        what=f"only {node} serves its clients",
        why="if it fails, nobody does",
        mend=f"`safekit module start {name} --all`; `safekit status {name}` shows why a node does not run it",
        module=name,
    )


def check_history(cluster: ClusterFacts) -> Iterator[Finding]:
    """One finding for a module on a node, with its last alarm: the commands show the others."""
    for facts in cluster.answered:
        for module in dict.fromkeys(alarm.module for alarm in facts.alarms):
            alarms = [alarm for alarm in facts.alarms if alarm.module == module]
            last = min(alarms, key=lambda alarm: alarm.last_s)
            count = sum(alarm.count for alarm in alarms)
            log = f"`safekit log {module} --on {facts.node}`".replace("  ", " ")
            yield Finding(
                severity=WARNING,
                name="alarm-lately",
                what=f"{count} alarm{'s' * (count > 1)} within a day, the last {span(last.last_s)} ago: {last.text}",
                why="it may have passed; who was not there should know",
                mend=f"`safekit why {module} --on {facts.node}`, and {log}" if module else log,
                nodes=(facts.node,),
                module=module,
            )
