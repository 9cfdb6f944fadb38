"""What the history tells of the last day: alarms, losses that were none, and how evenly heartbeats came."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit.diagnosis.facts import AlarmFacts
from safekit.journal import Entry, History, Query

DAY_S: Final = 86400.0
MAX_ENTRIES: Final = 2000
MAX_BEATS: Final = 2000
"""Of one second, one peer and one network each."""
MAX_ALARMS: Final = 50
Arrival = tuple[float, str, int]
"""Monotonic time, from whom, and in which incarnation of that node's daemon; 0 where it is that of the one before."""
_REGULAR: Final = """
SELECT id, mono, body FROM entries WHERE module = '' AND kind = 'beats' AND incarnation = ? ORDER BY id DESC LIMIT ?
"""
_CHANGED: Final = """
SELECT mono, json_extract(body, '$.heartbeat.node'), json_extract(body, '$.heartbeat.incarnation') FROM entries
WHERE module = '' AND kind = 'event' AND id >= ? AND incarnation = ? AND type = 'HeartbeatHeard'
ORDER BY id DESC LIMIT ?
"""
"""A heartbeat that changed something is kept with all its modules, which may be large and is not needed here."""


@dataclass(frozen=True, slots=True)
class Past:
    alarms: tuple[AlarmFacts, ...]
    losses: dict[str, int]
    """By peer: lost, and heard again in the same incarnation."""
    gaps_s: dict[str, float]
    """By peer the longest that is shorter than the loss time."""
    beats_s: float
    """How long a time the gaps were looked for in."""


NO_PAST: Final = Past((), {}, {}, 0.0)


def read_past(history: History, path: Path, incarnation: int, lost_after_s: float) -> Past:
    """`path`: the file of the history, for what is read of it without its bodies. Blocking; sqlite3.Error."""
    since = time.time() - DAY_S
    told = [history.query(Query(None, (kind,), since=since, last=MAX_ENTRIES)) for kind in ("decision", "log")]
    node_only = history.query(Query("", ("decision",), since=since, last=MAX_ENTRIES))
    heard = arrivals(path, incarnation)
    return Past(
        alarms=tuple(_alarms(entry for entries in told for entry in entries)),
        losses=losses(node_only),
        gaps_s=gaps(heard, lost_after_s),
        beats_s=heard[-1][0] - heard[0][0] if heard else 0.0,
    )


def _alarms(entries: Iterable[Entry]) -> Iterator[AlarmFacts]:
    """By module and rule; newest first."""
    grouped: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        body = json.loads(entry.body)
        if entry.kind == "log" and entry.type == "alarm":
            grouped.setdefault((entry.module, str(body["line"])), []).append(entry)
        elif entry.kind == "decision" and body["severity"] == "alarm":
            grouped.setdefault((entry.module, entry.type), []).append(entry)
    newest = sorted(grouped.items(), key=lambda item: item[1][-1].id, reverse=True)[:MAX_ALARMS]
    for (module, _), group in newest:
        last: dict[str, Any] = json.loads(group[-1].body)
        text = " ".join(str(last.get("decision") or last.get("line")).split())[:2000]
        ago_s = max(time.time() - group[-1].wall, 0.0)
        yield AlarmFacts(module=module, text=text, count=len(group), last_s=ago_s)


def losses(entries: Iterable[Entry]) -> dict[str, int]:
    """From the decisions of the node: `peer-lost`, and then `peer-heard` without `peer-restarted`. A node that did not
    run itself is not the peer's doing, and says so by `own-sleep`."""
    lost: dict[str, str] = {}
    counts: dict[str, int] = {}
    for entry in entries:
        body = json.loads(entry.body)
        peer = str(body["decision"]).partition(" ")[0].partition("'")[0]
        if entry.type == "peer-lost":
            lost[peer] = body["facts"].get(peer, "")
        elif entry.type == "peer-heard" and (before := lost.pop(peer, None)) is not None:
            counts[peer] = counts.get(peer, 0) + (body["facts"].get(peer, "") == before)
    return {peer: count for peer, count in counts.items() if count}


def gaps(heard: Iterable[Arrival], lost_after_s: float) -> dict[str, float]:
    """By peer the longest between two arrivals, which are in order. A silence as long as the loss time is a loss, and
    that of a daemon that was restarted is none."""
    last: dict[str, tuple[float, int]] = {}
    longest: dict[str, float] = {}
    for at_s, peer, said in heard:
        before_s, known = last.get(peer, (at_s, said))
        incarnation = said or known
        last[peer] = at_s, incarnation
        gap_s = at_s - before_s
        if gap_s < lost_after_s and (incarnation == known or not known):
            longest[peer] = max(longest.get(peer, 0.0), gap_s)
    return longest


def arrivals(path: Path, incarnation: int) -> list[Arrival]:
    """Heartbeats as they came to this incarnation of our daemon, in order; the last MAX_BEATS entries of them."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
        regular = connection.execute(_REGULAR, (incarnation, MAX_BEATS)).fetchall()
        oldest = regular[-1][0] if regular else 0
        changed = connection.execute(_CHANGED, (oldest, incarnation, MAX_BEATS)).fetchall()
    found: list[Arrival] = [(mono_s, str(peer), int(said)) for mono_s, peer, said in changed]
    for _, mono_s, text in regular:
        body = json.loads(text)
        found += [(mono_s + offset_ms / 1000, str(body["peer"]), 0) for offset_ms in body["ms"]]
    return sorted(found)
