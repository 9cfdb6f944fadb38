"""From the first moment of a stretch to its last: what differs under other settings, and whether the engine decides the
same as it did."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from safekit.engine import NodeState
from safekit.engine.actions import Explain
from safekit.engine.events import Configured, Event
from safekit.journal import Entry
from safekit.replaying.changes import Changes
from safekit.replaying.comparison import Comparison
from safekit.replaying.findings import Finding
from safekit.replaying.moments import Arrival, Moment, Pause, moments, pauses
from safekit_sdk import ConfigError

EDGE_S: Final = 1.0
"""What was decided so shortly before the end may stand on the other side of it."""
Decided = tuple[float, Explain]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A decision that is on record and is not taken, or the other way round."""

    wall: float
    on_record: bool
    decision: Explain


@dataclass(slots=True)
class Replayed:
    node: str
    begin: float
    """Unix time of the first moment."""
    end: float
    starts: int
    """In how many incarnations of the daemon."""
    findings: list[Finding] = field(default_factory=list)
    decisions: int = 0
    """How many are on record."""
    deviations: list[Deviation] = field(default_factory=list)


class _Replay:
    def __init__(self, changes: Changes, pauses: Sequence[Pause]) -> None:
        self._changes = changes
        self._pauses = pauses
        self.comparison: Comparison | None = None
        self.incarnation = self.incarnations = 0
        self.recorded: list[Decided] = []
        self.begin = self.end = self._at_s = 0.0
        self._is_checked = False

    def take(self, moment: Moment) -> None:
        what, ahead = moment.what, moment.wall - moment.at_s
        self.end = moment.wall
        if isinstance(what, NodeState):
            self._take_state(what, moment)
        elif self.comparison is None or moment.incarnation != self.incarnation:
            return  # what was lost on the way to the disk with the state that it belongs to
        elif isinstance(what, Explain):
            self.recorded.append((moment.wall, what))
        else:
            self.comparison.let_pass(moment.at_s, ahead)
            event = what.heartbeat(self.comparison.node, moment.at_s) if isinstance(what, Arrival) else what
            if event is not None:
                self.comparison.tell(event, moment.at_s, ahead)
                self._check(event)
        self._at_s = moment.at_s

    def _take_state(self, node: NodeState, moment: Moment) -> None:
        paused = [pause for pause in self._pauses if pause.incarnation == moment.incarnation]
        if self.comparison is None:
            self.comparison, self.begin = Comparison(self._changes, node, paused), moment.wall
        elif moment.incarnation != self.incarnation:
            self.comparison.begin_anew(node, paused, self._at_s)
        else:
            self.comparison.let_pass(moment.at_s, moment.wall - moment.at_s)
            self.comparison.correct(node)
        self.incarnations += moment.incarnation != self.incarnation
        self.incarnation = moment.incarnation
        self._check(node)

    def _check(self, what: Event | NodeState) -> None:
        """As soon as the record has configured the module."""
        if not self._is_checked and self.comparison is not None and isinstance(what, Configured | NodeState):
            node = self.comparison.node
            if self._changes.module in node.modules:
                self._changes.check(node)
                self._is_checked = True

    def gap_s(self) -> float:
        """What the engine is not told of every heartbeat does not matter to it."""
        return 0.0 if self.comparison is None else self.comparison.gap_s

    def close(self) -> Comparison:
        if self.comparison is None or not self._is_checked:
            raise ConfigError(
                f"the record has no module '{self._changes.module}' in this time",
                hint="`safekit log` shows the modules; name an earlier time with --since",
            )
        self.comparison.end(self._at_s)
        return self.comparison


def replay(entries: Iterable[Entry], paused: Iterable[Entry], changes: Changes, since: float, until: float) -> Replayed:
    """Of a history, from a state of the engine on. Findings from `since` to `until` (Unix time): what comes before is
    the way there, what comes after is only for judging. ConfigError when the settings do not suit the record."""
    run = _Replay(changes, pauses(paused))
    for moment in moments(entries, changes.module, run.gap_s):
        run.take(moment)
    done = run.close()
    findings = [finding for finding in done.findings if since <= finding.act.wall <= until]
    return Replayed(
        node=done.node.name,
        begin=max(run.begin, since),
        end=min(run.end, until),
        starts=run.incarnations,
        findings=sorted(findings, key=lambda finding: finding.act.wall),
        decisions=len(run.recorded),
        deviations=list(_deviations(run.recorded, done.decisions, run.end - EDGE_S)),
    )


def _deviations(recorded: Sequence[Decided], again: Sequence[Decided], end: float) -> Iterator[Deviation]:
    before, after = [_key(said) for _, said in recorded], [_key(said) for _, said in again]
    if before == after:
        return
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, begin, stop, other, last in matcher.get_opcodes():
        if tag != "equal":
            found = [Deviation(wall, True, said) for wall, said in recorded[begin:stop]]
            found += [Deviation(wall, False, said) for wall, said in again[other:last]]
            yield from (deviation for deviation in found if deviation.wall < end)


def _key(said: Explain) -> tuple[str, str, str, str]:
    """The words have times in them."""
    return said.module, said.rule, said.before, said.after
