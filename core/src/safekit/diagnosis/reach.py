"""Whether the nodes answer, and whether they are of one mind: versions, plugins, configuration, clocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, DaemonTrouble, NodeAnswer
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, by_node, span

CLOCK_S: Final = 1.0
"""Wall clocks that surely differ by more are told."""


def check_daemon(cluster: ClusterFacts) -> Iterator[Finding]:
    """The asker's own, when it does not answer."""
    trouble = cluster.daemon
    if trouble is None:
        return
    if trouble.pid:
        yield _silent(cluster.asker, trouble)
    else:
        yield _down(cluster.asker, trouble)


def _silent(node: str, trouble: DaemonTrouble) -> Finding:
    state = f", in state '{trouble.process_state}'" if trouble.process_state else ""
    return Finding(
        severity=ALARM,
        name="daemon-silent",
        what=f"safekitd runs (process {trouble.pid}{state}) and does not answer",
        why="it sends no heartbeats if it stands still, and the other nodes take over from it",
        mend=f"`kill -CONT {trouble.pid}` if it was stopped; else see {trouble.log}, then `safekit daemon stop` and "
        "`safekit daemon start`",
        nodes=(node,),
    )


def _down(node: str, trouble: DaemonTrouble) -> Finding:
    ended = {True: "it was ended in order", False: "it was killed or crashed", None: ""}[trouble.stopped_in_order]
    said = f"the last trouble in its log: {trouble.last_words}" if trouble.last_words else ""
    start = (
        f"`systemctl start safekitd`, or `safekit daemon start`; its log is {trouble.log}, or `journalctl -u safekitd`"
    )
    because = "; ".join(part for part in (ended, said) if part)
    return Finding(
        severity=ALARM,
        name="daemon-down",
        what=f"safekitd does not run{f' ({because})' if because else ''}",
        why="no module of this node runs, and nothing here can take over",
        mend=f"first what is said of its files below; {start}" if trouble.machine.files else start,
        nodes=(node,),
    )


def check_answers(cluster: ClusterFacts) -> Iterator[Finding]:
    heard = {peer.node for facts in cluster.answered for peer in facts.peers if peer.alive}
    for answer in cluster.nodes:
        if answer.facts is None:
            yield _unreachable(answer, alive=answer.node in heard)


def _unreachable(answer: NodeAnswer, *, alive: bool) -> Finding:
    why = (
        "its heartbeats are heard, so nothing takes over from it, but nobody can look into it or command it"
        if alive
        else "what it ran is taken over where that is possible; until it is back nothing can take over from the others"
    )
    return Finding(
        severity=ALARM,
        name="node-unreachable",
        what=f"it does not answer{f' ({answer.trouble})' if answer.trouble else ''}",
        why=why,
        mend=f"on {answer.node}: `safekit doctor` says whether safekitd runs there and why not; if it does, look at "
        "the network",
        nodes=(answer.node,),
    )


def check_versions(cluster: ClusterFacts) -> Iterator[Finding]:
    running = {facts.node: facts.process.version for facts in cluster.answered}
    if len(set(running.values())) > 1:
        yield Finding(
            severity=WARNING,
            name="versions-differ",
            what=f"the nodes run different versions of safekit: {by_node(running)}",
            why="they are meant to understand each other while you upgrade, and not for longer",
            mend="install the same packages on every node, then restart safekitd there, one node at a time",
            nodes=tuple(running),
        )
    for facts in cluster.answered:
        installed = facts.machine.version
        if installed and installed != facts.process.version:
            yield Finding(
                severity=WARNING,
                name="restart-pending",
                what=f"safekitd {facts.process.version} runs, and {installed} is installed",
                why="hosts that start from now on are of the new version, the daemon is not",
                mend="`systemctl restart safekitd`, or `safekit daemon stop` and `safekit daemon start`",
                nodes=(facts.node,),
            )


def check_plugins(cluster: ClusterFacts) -> Iterator[Finding]:
    """Differences weigh where a module uses the package."""
    used = {package for held in cluster.modules.values() for module in held.values() for package in module.packages}
    for plugin in sorted({name for facts in cluster.answered for name in facts.machine.plugins}):
        found = {facts.node: facts.machine.plugins.get(plugin, "missing") for facts in cluster.answered}
        if len(set(found.values())) == 1:
            continue
        matters = any(text.partition(" ")[0] in used for text in found.values())
        package = next(text.partition(" ")[0] for text in found.values() if text != "missing")
        yield Finding(
            severity=WARNING if matters else NOTE,
            name="plugins-differ",
            what=f"the package {package} differs: {by_node({n: t.rpartition(' ')[2] for n, t in found.items()})}",
            why="a module that uses it may not start on the node where it is missing or other"
            if matters
            else "no module uses it; one that did would be refused or differ",
            mend=f"`pip install {package}` in the same version on every node, then restart safekitd there",
            nodes=tuple(found),
        )


def check_configuration(cluster: ClusterFacts) -> Iterator[Finding]:
    revisions = {facts.node: str(facts.revision) for facts in cluster.answered}
    if len(set(revisions.values())) > 1:
        yield Finding(
            severity=WARNING,
            name="cluster-file-differs",
            what=f"the nodes have different revisions of the cluster file: {by_node(revisions)}",
            why="a node with an older one does not know members that joined since",
            mend="copy cluster.yaml from the node with the highest revision, then restart safekitd on the others",
            nodes=tuple(revisions),
        )
    for name, held in cluster.modules.items():
        yield from _one_configuration(cluster, name, {node: module.signature for node, module in held.items()})
        edited = tuple(node for node, module in held.items() if module.edited)
        if edited:
            yield Finding(
                severity=NOTE,
                name="edits-not-applied",
                what="its files were edited and not applied",
                why="the edit does not count yet, and the next apply from another node replaces it",
                mend=f"`safekit plan {name}`, then `safekit apply {name}`",
                nodes=edited,
                module=name,
            )


def _one_configuration(cluster: ClusterFacts, name: str, signatures: dict[str, str]) -> Iterator[Finding]:
    nodes = next(module.nodes for module in cluster.modules[name].values())
    broken = {facts.node for facts in cluster.answered if name in facts.broken}
    lacking = [
        f.node for f in cluster.answered if f.node in nodes and f.node not in signatures and f.node not in broken
    ]
    shown = {**signatures, **dict.fromkeys(lacking, "none")}
    if len(set(shown.values())) > 1:
        yield Finding(
            severity=WARNING,
            name="configuration-differs",
            what=f"its configuration differs between the nodes: {by_node(shown)}",
            why="after a take-over it runs with other settings",
            mend=f"`safekit apply {name}` on the node that has the right one",
            nodes=tuple(shown),
            module=name,
        )


def check_broken(cluster: ClusterFacts) -> Iterator[Finding]:
    for facts in cluster.answered:
        for name in facts.broken:
            yield Finding(
                severity=ALARM,
                name="configuration-unusable",
                what="its configuration cannot be used on this node",
                why="it does not run here and cannot take over",
                mend=f"`safekit log --on {facts.node}` says why; restart safekitd there, or `safekit apply {name}`",
                nodes=(facts.node,),
                module=name,
            )


def check_clocks(cluster: ClusterFacts) -> Iterator[Finding]:
    """The asker's clock is the measure; it may be the wrong one."""
    for answer in cluster.nodes:
        if answer.clock is None or abs(answer.clock.ahead_s) - answer.clock.error_s <= CLOCK_S:
            continue
        side = "ahead of" if answer.clock.ahead_s > 0 else "behind"
        off, error = span(abs(answer.clock.ahead_s)), span(answer.clock.error_s)
        yield Finding(
            severity=WARNING,
            name="clocks-differ",
            what=f"its clock is {off} {side} that of {cluster.asker} (measured to {error})",
            why="no decision of safekit depends on it; times in logs, files and certificates jump at a take-over",
            mend="let every node keep time: `apt install chrony`, or `timedatectl set-ntp true`",
            nodes=(answer.node,),
        )
