"""Which decisions belong together. One incident is what was decided on all nodes until it is quiet again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from safekit_notify.words import SEVERITIES, Severity


@dataclass(frozen=True, slots=True)
class Event:
    """One decision of one node."""

    key: str
    """The same wherever it is heard of: node, incarnation, number in its journal."""
    node: str
    number: int
    module: str
    """Empty for the node itself."""
    wall_s: float
    heard_s: float
    body: dict[str, Any]

    @property
    def severity(self) -> Severity:
        said = self.body.get("severity")
        return said if said in SEVERITIES else "info"  # of a node of another version


@dataclass(frozen=True, slots=True)
class Incident:
    events: tuple[Event, ...]
    """In the order in which they happened; never empty."""

    @property
    def severity(self) -> Severity:
        return self.main.severity

    @property
    def main(self) -> Event:
        """What it is about: the first of the weightiest; of the modules rather than of the nodes."""
        return max(self.events, key=lambda event: (weight(event.severity), bool(event.module)))

    def without(self, keys: set[str]) -> Incident | None:
        return _made(event for event in self.events if event.key not in keys)

    def part(self, modules: Sequence[str], least: Severity) -> Incident | None:
        """Of these modules, or of all when there are none; None when nothing of it is weighty enough."""
        part = _made(event for event in self.events if not modules or event.module in modules)
        return part if part and weight(part.severity) >= weight(least) else None


def weight(severity: Severity) -> int:
    return SEVERITIES.index(severity)


def split(events: Sequence[Event], quiet_s: float, longest_s: float) -> list[Incident]:
    """By when they were heard of, in that order."""
    found: list[list[Event]] = []
    for event in sorted(events, key=lambda event: event.heard_s):
        current = found[-1] if found else []
        is_later = not current or event.heard_s - current[-1].heard_s >= quiet_s
        if is_later or event.heard_s - current[0].heard_s >= longest_s:
            found.append([event])
        else:
            current.append(event)
    return [incident for group in found if (incident := _made(group)) is not None]


def ended_s(incident: Incident, quiet_s: float, longest_s: float) -> float:
    """When it is or will be over, if nothing more is decided."""
    heard = [event.heard_s for event in incident.events]
    return min(max(heard) + quiet_s, min(heard) + longest_s)


def _made(events: Iterable[Event]) -> Incident | None:
    ordered = tuple(sorted(events, key=lambda event: event.wall_s))
    return Incident(ordered) if ordered else None
