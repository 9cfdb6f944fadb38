"""Looks at what the record tells after an act, until it tells whether the act was called for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from safekit.engine import NodeState, events, rules
from safekit.engine.rules import Rule
from safekit.replaying.acts import MAX_LOOPS, Kind
from safekit.replaying.findings import Finding

INIT: Final = "init"


class Judge:
    def __init__(self, module: str) -> None:
        self._module = module
        self._values: dict[str, str] = {}
        """What was said last of each resource; that it is not looked at any more is no news of it."""
        self._node: NodeState | None = None
        self._rules: dict[str, Rule] = {}
        self._waiting: list[Finding] = []

    def begin(self, node: NodeState) -> None:
        self._node = node
        module = node.modules.get(self._module)
        self._values = module.plain_values() if module is not None else {}

    def wait(self, finding: Finding, known: Mapping[str, Rule]) -> None:
        """Judge it as soon as that can be done. `known`: the rules by label."""
        if finding.act.rule == MAX_LOOPS:
            finding.evidence = "whether one more restart would have helped is not on record"
        elif not finding.is_judged:
            self._rules.update(known)
            self._waiting.append(finding)

    def note_values(self, event: events.Event, node: NodeState) -> None:
        """What the engine of the record was told, and where it is after that."""
        self._node = node
        if isinstance(event, events.VerdictChanged) and event.health != INIT:
            self._values[event.resource] = event.health
        elif isinstance(event, events.ValueSet):
            self._values[event.resource] = event.value

    def note(self, event: events.Event, node: NodeState, at_s: float) -> None:
        """Likewise, once it is known what follows: it may be the end of what was waited for."""
        if self._waiting:
            self._waiting = [finding for finding in self._waiting if not self._is_judged(finding, event, node, at_s)]

    def _is_judged(self, finding: Finding, event: events.Event, node: NodeState, at_s: float) -> bool:
        act = finding.act
        if act.kind is not Kind.RULE:
            peer = node.membership.peers.get(act.peer)
            is_heard = isinstance(event, events.HeartbeatHeard) and event.heartbeat.node == act.peer
            if peer is not None and is_heard and peer.last_s == at_s:
                finding.heard_again(peer.incarnation, at_s)
        elif not self.holds(self._rules.get(act.rule)):
            module = node.modules.get(self._module)
            finding.good_again(at_s, by_itself=module is not None and module.runs < act.run)
        return finding.is_judged

    def holds(self, rule: Rule | None) -> bool:
        """Whether it is true by what is on record."""
        return rule is not None and rules.holds(rule.condition, self._values, self._remote())

    def _remote(self) -> dict[str, str]:
        if self._node is None or self._module not in self._node.modules:
            return {}
        nodes = self._node.modules[self._module].spec.nodes
        peers = [peer for name, peer in self._node.membership.peers.items() if name in nodes and peer.alive]
        reports = [peer.modules[self._module] for peer in peers if self._module in peer.modules]
        return dict(reports[0].values) if reports else {}

    def end(self, at_s: float) -> None:
        """Nothing more follows of this incarnation."""
        for finding in self._waiting:
            finding.never_again(at_s)
        self._waiting.clear()
