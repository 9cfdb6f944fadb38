"""What the history tells of the last day: alarms, losses that were none, and how evenly heartbeats came."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from safekit.diagnosis.facts import AlarmFacts
from safekit.journal import Entry, History, Query

DAY_S: Final = 86400.0
MAX_ENTRIES: Final = 5000
MAX_BEATS: Final = 4000
"""Of one second, one peer and one network each."""
MAX_ALARMS: Final = 50


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


def read_past(history: History, incarnation: int, lost_after_s: float) -> Past:
    """Blocking."""
    since = time.time() - DAY_S
    told = [history.query(Query(None, (kind,), since=since, last=MAX_ENTRIES)) for kind in ("decision", "log")]
    node_only = history.query(Query("", ("decision",), since=since, last=MAX_ENTRIES))
    heard = history.query(Query("", ("beats", "event"), since=since, last=MAX_BEATS))
    beats = [entry for entry in heard if entry.incarnation == incarnation and entry.type == "HeartbeatHeard"]
    arrivals = sorted(found for entry in beats for found in _arrivals(entry))
    return Past(
        alarms=tuple(_alarms(entry for entries in told for entry in entries)),
        losses=losses(node_only),
        gaps_s=gaps(arrivals, lost_after_s),
        beats_s=arrivals[-1][0] - arrivals[0][0] if arrivals else 0.0,
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
        text = str(last.get("decision") or last.get("line"))[:2000]
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


def gaps(arrivals: Iterable[tuple[float, str]], lost_after_s: float) -> dict[str, float]:
    """`arrivals` in order: when, and from whom. A silence as long as the loss time is a loss, which is told as one."""
    last: dict[str, float] = {}
    longest: dict[str, float] = {}
    for at_s, peer in arrivals:
        gap_s = at_s - last.get(peer, at_s)
        last[peer] = at_s
        if gap_s < lost_after_s:
            longest[peer] = max(longest.get(peer, 0.0), gap_s)
    return longest


def _arrivals(entry: Entry) -> Iterator[tuple[float, str]]:
    body = json.loads(entry.body)
    if entry.kind == "beats":
        yield from ((entry.mono + offset_ms / 1000, str(body["peer"])) for offset_ms in body["ms"])
    else:
        yield entry.mono, str(body["heartbeat"]["node"])
