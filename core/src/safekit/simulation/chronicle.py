"""What happened in a history, line by line, and what `safekit why` says of its end on each node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from safekit.engine.actions import Explain

REMEMBERED: Final = 1000
"""Decisions of a node, as many as `safekit why` looks at."""
BEFORE: Final = 5

Decision = tuple[float, Explain]
"""When, in true time."""


class Chronicle:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[str] = []
        """Of `lines` those that were injected."""
        self.injects = False
        self._decisions: dict[str, deque[Decision]] = {}

    def note(self, at_s: float, where: str, text: str) -> None:
        self.lines.append(f"{at_s:9.3f} {where:>2}  {text}")
        if self.injects:
            self.events.append(self.lines[-1])

    def explained(self, at_s: float, node: str, said: Explain) -> None:
        change = f"{said.before} → {said.after}" if said.before != said.after else said.before
        self.note(at_s, node, f"{change:40} {said.decision}  [{said.rule}]")
        if said.module:
            self._decisions.setdefault(node, deque(maxlen=REMEMBERED)).append((at_s, said))

    def why(self) -> Iterator[str]:
        for node, decisions in sorted(self._decisions.items()):
            yield f"why, on {node}:"
            yield from why(list(decisions))


def why(decisions: Sequence[Decision]) -> Iterator[str]:
    """The last change and its reasons, in the words and the order of `safekit why`."""
    place = max((i for i, (_, said) in enumerate(decisions) if _begins_something(said)), default=None)
    if place is None:
        return
    at_s, change = decisions[place]
    yield f"{at_s:.3f} s  {change.before} → {change.after}"
    yield change.decision
    yield f"rule: {change.rule}"
    yield from (f"  {name}: {fact}" for name, fact in change.facts.items())
    yield from (f"not taken: {other}" for other in change.considered)
    if change.prevent:
        yield f"what would have prevented it: {change.prevent}"
    for later_s, said in decisions[place + 1 :]:
        yield f"{later_s - at_s:.2f} s later: {said.decision} ({said.after or said.rule})"
    if place:
        yield "before that:"
    yield from (f"  {said.decision} ({said.rule})" for _, said in decisions[max(place - BEFORE, 0) : place])


def _begins_something(said: Explain) -> bool:
    """Not the end of a change that an earlier decision began."""
    arrives = said.before.partition("/")[0] == said.after.partition("/")[0] and said.before.endswith("/Transient")
    ends = said.after.endswith("/Ready") or said.after.startswith("STOP/")
    return said.before != said.after and not (arrives and ends)
