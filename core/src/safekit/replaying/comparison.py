"""Two engines through one record: one as it was, one under other settings.

The second one is told what the first one was told. Where they part, what the record tells from then on is what followed
from the first. So each such episode is looked at by itself: until it is clear what the second one does in it, or the
reason for it is over. Then the second one goes on from where the first one is, and nothing has to be made up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from safekit.engine import NodeState, events
from safekit.engine.actions import Action, Explain
from safekit.engine.module import Module
from safekit.engine.rules import Rule
from safekit.replaying.acts import Act, Kind, doings, losses
from safekit.replaying.answers import Answers
from safekit.replaying.changes import Changes
from safekit.replaying.course import LATE_S, SLACK_S, Course, differ
from safekit.replaying.findings import Finding, Outcome, paired
from safekit.replaying.judging import INIT, Judge
from safekit.replaying.moments import Pause

GRACE_S: Final = 1.0
"""What follows from a loss, or from a change of settings, may take some steps."""
UNDECIDED: Final = "the record ends too soon to tell"
_BY_HAND: Final = (events.CommandGiven, events.WeightSet, events.Configured, events.Started)
"""Whoever gave it had seen what was done on record."""
Nodes = tuple[NodeState, NodeState]
"""As it was, and under other settings."""


@dataclass(slots=True)
class _Episode:
    recorded: list[Act] = field(default_factory=list)
    supposed: list[Act] = field(default_factory=list)
    agreed_s: float | None = None
    """Since when both have lost the same nodes, or none."""


class Comparison:
    def __init__(self, changes: Changes, node: NodeState, pauses: Iterable[Pause]) -> None:
        self._changes = changes
        self._name = changes.module
        self._recorded, self._supposed = Course(node), Course(changes.of_node(node))
        self._judge = Judge(changes.module)
        self._judge.begin(node)
        self._answers = Answers()
        self._episodes: dict[str, _Episode] = {}
        """By module, and by node that is lost on one side only."""
        self._ticked_s = node.membership.last_tick_s
        self._pauses = deque(pauses)
        """Of this incarnation, from now on."""
        self.findings: list[Finding] = []
        self.decisions: list[tuple[float, Explain]] = []
        """Of the engine as it was, with its time."""

    def begin_anew(self, node: NodeState, pauses: Iterable[Pause], at_s: float) -> None:
        """Another incarnation of the daemon."""
        self.end(at_s)
        self._recorded.node, self._supposed.node = node, self._changes.of_node(node)
        self._judge.begin(node)
        self._ticked_s = node.membership.last_tick_s
        self._pauses = deque(pauses)

    def correct(self, node: NodeState) -> None:
        """By a state on record: errors do not add up for longer than from one to the next."""
        self._recorded.node = node
        if self._name not in self._episodes:
            self._join()

    def end(self, at_s: float) -> None:
        for key in list(self._episodes):
            self._close(key, self._is_undecided(key, at_s))
        self._judge.end(at_s)

    def _is_undecided(self, key: str, at_s: float) -> bool:
        """Where the record ends the second engine may still be waiting."""
        module = self.node.modules.get(self._name)
        if key != self._name or module is None:
            return True
        return not self._agree(module.spec.nodes) or _waits(self._supposed.node.modules.get(self._name), at_s)

    @property
    def node(self) -> NodeState:
        """As it was."""
        return self._recorded.node

    @property
    def gap_s(self) -> float:
        """A silence that neither engine takes for anything. What a peer promises comes with each of its heartbeats."""
        module = self.node.modules.get(self._name)
        if module is not None and module.spec.witness is not None:
            return 0.0
        return 0.5 * min(node.membership.spec.lost_after_s for node in (self.node, self._supposed.node))

    def let_pass(self, until_s: float, ahead: float) -> None:
        """Time passes until just before the next moment of the record, and stands still in a pause of the node.
        `ahead`: the wall clock's, of the monotonic one."""
        while (at_s := self._next_tick_s()) is not None and at_s < until_s:
            self._ticked_s = at_s
            was = self._recorded.node, self._supposed.node
            actions = self._recorded.let_pass(at_s, min(LATE_S, self._interval_s))
            did = actions
            if self._changes:
                did = self._go_alone(at_s) if self._goes_alone else self._supposed.let_pass(at_s, SLACK_S)
            self._look(was, actions, did, at_s, ahead)

    def _go_alone(self, at_s: float) -> tuple[Action, ...]:
        told: list[events.Event] = [*self._answers.take(at_s), events.TimePassed()]
        return tuple(action for event in told for action in self._supposed.step(event, at_s))

    @property
    def _interval_s(self) -> float:
        return self.node.membership.spec.heartbeat_interval_s

    @property
    def _goes_alone(self) -> bool:
        """The second engine may decide in any interval what is not on record."""
        module = self._supposed.node.modules.get(self._name)
        return bool(self._episodes) or (module is not None and bool(module.holding))

    def _next_tick_s(self) -> float | None:
        if self._ticked_s is None:
            return None
        at_s = self._ticked_s + min(self._recorded.stride_s, self._supposed.stride_s)
        if self._changes:
            if self._goes_alone:
                at_s = min(at_s, self._ticked_s + self._supposed.node.membership.spec.heartbeat_interval_s)
            at_s = min(at_s, max(self._supposed.due_s, self._ticked_s + 0.001))
        while self._pauses and self._pauses[0].until_s <= self._ticked_s:
            self._pauses.popleft()
        if self._pauses and self._pauses[0].since_s < at_s < self._pauses[0].until_s:
            pause = self._pauses[0]
            return pause.since_s if self._ticked_s < pause.since_s else pause.until_s
        return at_s

    def tell(self, event: events.Event, at_s: float, ahead: float) -> None:
        """A moment of the record."""
        if isinstance(event, _BY_HAND) and self._name in self._episodes:
            self._close(self._name)
        was = self._recorded.node, self._supposed.node
        recorded_s = self._recorded.node.membership.spec.lost_after_s
        self._answers.note(event, was[0].modules.get(self._name))
        actions = self._recorded.step(event, at_s)
        did = actions
        if self._changes:
            did = () if self._is_answer(event) else self._supposed.step(self._changes.of_event(event, recorded_s), at_s)
        if (last_s := self._recorded.last_tick_s) is not None:
            self._ticked_s = max(last_s, self._ticked_s or last_s)
        self._judge.note_values(event, self._recorded.node)
        self._look(was, actions, did, at_s, ahead)
        self._judge.note(event, self._recorded.node, at_s)

    def _is_answer(self, event: events.Event) -> bool:
        """What stops looking because of what was done on record goes on looking where it was not done."""
        return isinstance(event, events.VerdictChanged) and event.health == INIT and self._name in self._episodes

    def _look(
        self, was: Nodes, actions: tuple[Action, ...], did: tuple[Action, ...], at_s: float, ahead: float
    ) -> None:
        """What both did in one step."""
        if not self._changes:
            self._supposed.node = self._recorded.node
            was = was[0], was[0]
        wall = at_s + ahead
        self.decisions += [(wall, action) for action in actions if isinstance(action, Explain)]
        if was[0].membership is not self.node.membership or was[1].membership is not self._supposed.node.membership:
            self._look_at_losses(was, at_s, wall)
        self._look_at_module(was, actions, did, at_s, wall)

    def _look_at_losses(self, was: Nodes, at_s: float, wall: float) -> None:
        lost = {act.peer: act for act in losses(was[0], self.node, at_s, wall)}
        also = {act.peer: act for act in losses(was[1], self._supposed.node, at_s, wall)}
        for name in {**lost, **also}:
            self._acted(f"node {name}", lost.get(name), also.get(name))
        for name in self.node.membership.peers:
            if f"node {name}" in self._episodes and self._agree((name,)):
                self._close(f"node {name}")

    def _look_at_module(
        self, was: Nodes, actions: tuple[Action, ...], did: tuple[Action, ...], at_s: float, wall: float
    ) -> None:
        name = self._name
        before = tuple(node.modules.get(name) for node in was)
        now = self.node.modules.get(name), self._supposed.node.modules.get(name)
        moved = [now[k] is not before[k] and now[k] is not None for k in (0, 1)]
        mine = next(doings(before[0], self.node, name, actions, at_s, wall), None) if moved[0] else None
        theirs = next(doings(before[1], self._supposed.node, name, did, at_s, wall), None) if moved[1] else None
        if mine or theirs:
            self._acted(name, mine, theirs)
        if any(moved) and name not in self._episodes and differ(*now):
            self._episodes[name] = _Episode()
            self._answers.begin()
        if name in self._episodes:
            self._answers.ask(did, at_s)
            self._go_on(self._episodes[name], theirs, at_s)

    def _acted(self, key: str, recorded: Act | None, supposed: Act | None) -> None:
        if key not in self._episodes and recorded and supposed:
            self._found(paired(recorded, supposed, self._interval_s))
            return
        episode = self._episodes.setdefault(key, _Episode())
        episode.recorded += [recorded] if recorded else []
        episode.supposed += [supposed] if supposed else []

    def _go_on(self, episode: _Episode, theirs: Act | None, at_s: float) -> None:
        """What would follow from what the second one did is not on record: it waits there."""
        if theirs:
            kept = {name: found for name, found in self._supposed.node.modules.items() if name != self._name}
            self._supposed.node = replace(self._supposed.node, modules=kept)
        if (episode.recorded and episode.supposed) or self._is_over(episode, at_s):
            self._close(self._name)

    def _is_over(self, episode: _Episode, at_s: float) -> bool:
        modules = [node.modules.get(self._name) for node in (self.node, self._supposed.node)]
        if modules[0] is None:
            return True
        if not self._agree(modules[0].spec.nodes):
            episode.agreed_s = None
            return False
        episode.agreed_s = at_s if episode.agreed_s is None else episode.agreed_s
        acts, known = [*episode.recorded, *episode.supposed], self._rules()
        if any(self._judge.holds(known.get(act.rule)) for act in acts) or any(_waits(m, at_s) for m in modules):
            return False
        all_heard = not self._lost(modules[0].spec.nodes)
        return at_s - episode.agreed_s >= (0.0 if acts and all_heard else GRACE_S)

    def _agree(self, names: tuple[str, ...]) -> bool:
        sides = [node.membership.peers for node in (self.node, self._supposed.node)]
        return all(
            name not in sides[0] or name not in sides[1] or sides[0][name].alive == sides[1][name].alive
            for name in names
        )

    def _lost(self, names: tuple[str, ...]) -> bool:
        return any(not peer.alive for name, peer in self.node.membership.peers.items() if name in names)

    def _rules(self) -> dict[str, Rule]:
        """By label; where both have one, that of the record."""
        module = self.node.modules.get(self._name)
        spec = [] if module is None else [self._changes.of_module(module.spec), module.spec]
        return {rule.label: rule for each in spec for rule in each.rules}

    def _close(self, key: str, undecided: bool = False) -> None:
        episode = self._episodes.pop(key)
        recorded, supposed = episode.recorded, episode.supposed
        if recorded and supposed:
            self._found(paired(recorded.pop(0), supposed.pop(0), self._interval_s))
        for act in recorded:
            self._found(self._after_the_same(act) or Finding(act, Outcome.NOT, evidence=UNDECIDED * undecided))
        for act in supposed:
            self._found(Finding(act, Outcome.ADDED, evidence=UNDECIDED * undecided))
        if key == self._name:
            self._join()

    def _after_the_same(self, act: Act) -> Finding | None:
        """Where the other node is fenced first, what follows from that comes as much earlier or later."""
        for found in reversed(self.findings[-20:]):
            same = (found.act.kind, found.act.peer, found.act.heard_s) == (Kind.FAILOVER, act.peer, act.heard_s)
            if same and found.outcome in {Outcome.EARLIER, Outcome.LATER}:
                return Finding(act, found.outcome, found.by_s)
        return None

    def _found(self, finding: Finding) -> None:
        if finding.outcome is Outcome.SAME and finding.act.kind is Kind.FAILOVER:
            finding = self._after_the_same(finding.act) or finding
        self.findings.append(finding)
        self._judge.wait(finding, self._rules())

    def _join(self) -> None:
        """The second one is where the first one is."""
        modules = {
            name: replace(module, spec=self._changes.of_module(module.spec))
            for name, module in self.node.modules.items()
        }
        self._supposed.node = replace(self._supposed.node, modules=modules, recalled=self.node.recalled)


def _waits(module: Module | None, at_s: float) -> bool:
    """A rule that is true may still act, when it has been for long enough."""
    if module is None:
        return False
    holds = {rule.label: rule.hold_s for rule in module.spec.rules}
    handled_s = module.spec.handle_time_s + GRACE_S
    return any(at_s < since_s + holds.get(label, 0.0) + handled_s for label, since_s in module.holding.items())
