"""Turns what happens into history entries, in the order in which it happened. Heartbeats that change nothing are kept
as arrival times, one entry per peer and network a second; with the state from time to time that is all that a replay
needs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from safekit.engine import NodeState, events
from safekit.engine.actions import Explain
from safekit.engine.membership import Peer
from safekit.journal import Entry, History
from safekit.journal.codec import dump_decision, dump_event, dump_state

BEATS_S: Final = 1.0
QUIET_S: Final = 10.0
"""While nothing is heard it is noted so often that this node ran."""
STATE_S: Final = 3600.0
"""Each stretch of the history begins with a state: so long is the way from there to the moment that is looked at."""
OnDecision = Callable[[Explain], None]
Arrival = tuple[float, int, float]
"""When, its sequence number, and how long before that this node sent what its sender had heard last."""


def _nothing() -> None:
    pass


class Recorder:
    def __init__(
        self, history: History, incarnation: int, on_decision: OnDecision, on_change: Callable[[], None] = _nothing
    ) -> None:
        self._history = history
        self.incarnation = incarnation
        self._on_decision = on_decision
        self._on_change = on_change
        """Told of every entry but those by which nothing changed."""
        self._arrivals: dict[tuple[str, str], list[Arrival]] = {}
        self._since: float | None = None
        self._state_due_s = -math.inf
        self._noted_s = -math.inf
        """When something was kept last by which it can be seen that this node ran."""

    def record(self, before: NodeState, event: events.Event, after: NodeState, now_s: float, *, changed: bool) -> None:
        """One step of the engine. `changed`: something follows from it, or a module is not as it was."""
        if now_s >= self._state_due_s:
            self._note_state(before, now_s)
        self._note_pause(before, after, now_s)
        if self._since is not None and now_s - self._since >= BEATS_S:
            self._write_arrivals(self._since)
        if self._since is None and now_s - self._noted_s >= QUIET_S:
            self._append("quiet", "", "TimePassed", "{}", now_s)
            self._noted_s = now_s
        if isinstance(event, events.HeartbeatHeard) and not changed:
            self._heard(before, event, after, now_s)
        elif changed or not isinstance(event, events.TimePassed):
            self._keep(event, now_s)

    def decided(self, decision: Explain, now_s: float) -> None:
        self._append("decision", decision.module, decision.rule, dump_decision(decision), now_s)
        self._on_change()
        self._on_decision(decision)

    def said(self, module: str, severity: str, line: str) -> None:
        """A line of a plugin or of the daemon for `safekit log`."""
        self._append("log", module, severity, json.dumps({"line": line}), time.monotonic())
        self._on_change()

    def _keep(self, event: events.Event, now_s: float) -> None:
        if self._since is not None:
            self._write_arrivals(self._since)
        self._noted_s = now_s
        name, body = dump_event(event)
        self._append("event", getattr(event, "module", ""), name, body, now_s)
        self._on_change()

    def _heard(self, before: NodeState, event: events.HeartbeatHeard, after: NodeState, now_s: float) -> None:
        name = event.heartbeat.node
        known, peer = before.membership.peers.get(name), after.membership.peers.get(name)
        if known is None or peer is None or peer.last_s != now_s:
            return  # of no peer, or of an earlier incarnation
        if not _is_regular(known, peer):
            self._keep(event, now_s)
            return
        if self._since is None:
            self._since = self._noted_s = now_s
        arrival = now_s, event.heartbeat.sequence, now_s - peer.echo[1]
        self._arrivals.setdefault((name, event.network), []).append(arrival)

    def _write_arrivals(self, since_s: float) -> None:
        for (peer, network), arrivals in self._arrivals.items():
            body = {"peer": peer, "network": network, **_packed(arrivals, since_s)}
            self._append("beats", "", "HeartbeatHeard", json.dumps(body, separators=(",", ":")), since_s)
        self._arrivals.clear()
        self._since = None

    def _note_state(self, node: NodeState, now_s: float) -> None:
        """It is put into words by the history's thread."""
        if self._since is not None:
            self._write_arrivals(self._since)
        self._state_due_s = now_s + STATE_S
        self._history.append(partial(_state_entry, self._entry("state", "", "NodeState", "", now_s), node))

    def _note_pause(self, before: NodeState, after: NodeState, now_s: float) -> None:
        """Time in which it was not said that time passes; shorter ones make no difference to the engine."""
        last_s = before.membership.last_tick_s
        if last_s is None or after.membership.last_tick_s != now_s:
            return
        if now_s - last_s > 2 * before.membership.spec.heartbeat_interval_s:
            self._append("pause", "", "TimePassed", json.dumps({"since": last_s}), now_s)

    def _append(self, kind: str, module: str, type_name: str, body: str, now_s: float) -> None:
        self._history.append(self._entry(kind, module, type_name, body, now_s))

    def _entry(self, kind: str, module: str, type_name: str, body: str, now_s: float) -> Entry:
        wall_s = time.time() - (time.monotonic() - now_s)
        return Entry(self.incarnation, now_s, wall_s, kind, module, type_name, body)


def _is_regular(known: Peer, peer: Peer) -> bool:
    """Whether the heartbeat that led from one to the other differs from the one before only by what arrivals keep."""
    same = peer.seen is known.seen and peer.incarnation == known.incarnation and peer.alive == known.alive
    return same and _told(known) == _told(peer)


def _told(peer: Peer) -> tuple[Any, ...]:
    return peer.lost_after_s, peer.deaf_s, peer.echo[0]


def _packed(arrivals: list[Arrival], since_s: float) -> dict[str, Any]:
    """Whole milliseconds, rounded down: who counted as lost by the record does so in a replay. Of sequence numbers
    without a gap the first."""
    numbers = [number for _, number, _ in arrivals]
    gapless = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    packed = {
        "ms": [math.floor((at_s - since_s) * 1000) for at_s, _, _ in arrivals],
        "sequence": numbers[0] if gapless else numbers,
    }
    ages_s = [age_s for _, _, age_s in arrivals]
    return packed if math.inf in ages_s else {**packed, "age": [round(age_s * 1000) for age_s in ages_s]}


def _state_entry(empty: Entry, node: NodeState) -> Entry:
    return Entry(empty.incarnation, empty.mono, empty.wall, empty.kind, "", empty.type, dump_state(node))
