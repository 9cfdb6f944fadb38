"""What checkers and resources have said in the last hour, from the journals of the nodes, as it is drawn."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from safekit_console.state import ModuleStatus

SPAN_S: Final = 3600.0
WIDE: Final = 1000
"""The drawing is so many units wide."""
ENTRIES: Final = 2000
SAID: Final = ("up", "down", "unknown")
MAX_STRETCHES: Final = 200
"""Of one drawing; what changes more often is drawn from the newest of them on."""


@dataclass(frozen=True, slots=True)
class Stretch:
    at: int
    width: int
    value: str


@dataclass(frozen=True, slots=True)
class Course:
    """Of one checker on one node."""

    node: str
    resource: str
    stretches: tuple[Stretch, ...]
    shares: Mapping[str, float]
    """Of the hour, by value, in seconds."""
    falls: int
    """How often it went down."""


def courses(
    node: str, module: ModuleStatus, entries: Iterable[Mapping[str, Any]], now: float, heard: float
) -> list[Course]:
    """`entries` of this node's journal, in any order; `heard`: when the node said what `module` is."""
    told: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for entry in entries:
        if entry["type"] == "VerdictChanged":
            body = json.loads(entry["body"])
            told[body["resource"]].append((float(entry["wall"]), str(body["health"])))
    for value in module.values:
        if value.value in SAID:
            told[value.resource].append((min(heard - value.since_s, now), value.value))
    found = [_course(node, name, sorted(said), now) for name, said in sorted(told.items())]
    return [course for course in found if course.stretches]


def _course(node: str, resource: str, said: list[tuple[float, str]], now: float) -> Course:
    begin = now - SPAN_S
    ends = [wall for wall, _ in said[1:]] + [now]
    runs: list[tuple[float, float, str]] = []
    for (wall, value), end in zip(said, ends, strict=True):
        if end <= begin or value not in SAID:
            continue
        if runs and runs[-1][2] == value and runs[-1][1] == wall:
            runs[-1] = (runs[-1][0], end, value)
        else:
            runs.append((max(wall, begin), end, value))
    shares: dict[str, float] = defaultdict(float)
    for wall, end, value in runs:
        shares[value] += end - wall
    falls = sum(value == "down" and wall > begin for wall, _, value in runs)
    drawn = tuple(_stretch(wall - begin, end - begin, value) for wall, end, value in runs[-MAX_STRETCHES:])
    return Course(node, resource, drawn, dict(shares), falls)


def _stretch(begin_s: float, end_s: float, value: str) -> Stretch:
    """What is down is seen, however short it was."""
    at = min(int(begin_s / SPAN_S * WIDE), WIDE - 1)
    width = max(round(end_s / SPAN_S * WIDE) - at, 4 if value == "down" else 1)
    return Stretch(at, min(width, WIDE - at), value)
