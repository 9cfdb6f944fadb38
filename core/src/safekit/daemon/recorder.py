"""Turns what happens into history entries. Heartbeats that change nothing are kept as arrival times, one entry
per peer and network a second, which is all that a replay needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

from safekit.engine import events
from safekit.engine.actions import Explain
from safekit.journal import Entry, History
from safekit.journal.codec import dump_decision, dump_event

BEATS_S: Final = 1.0
OnDecision = Callable[[Explain], None]


class Recorder:
    def __init__(self, history: History, incarnation: int, on_decision: OnDecision) -> None:
        self._history = history
        self.incarnation = incarnation
        self._on_decision = on_decision
        self._arrivals: dict[tuple[str, str], list[float]] = {}
        self._since: float | None = None

    def record(self, event: events.Event, now_s: float, *, changed: bool) -> None:
        if isinstance(event, events.HeartbeatHeard) and not changed:
            self._arrived(event, now_s)
        elif changed or not isinstance(event, events.TimePassed):
            name, body = dump_event(event)
            self._append("event", getattr(event, "module", ""), name, body, now_s)

    def decided(self, decision: Explain, now_s: float) -> None:
        self._append("decision", decision.module, decision.rule, dump_decision(decision), now_s)
        self._on_decision(decision)

    def said(self, module: str, severity: str, line: str) -> None:
        """A line of a plugin or of the daemon for `safekit log`."""
        self._append("log", module, severity, json.dumps({"line": line}), time.monotonic())

    def _arrived(self, event: events.HeartbeatHeard, now_s: float) -> None:
        if self._since is None:
            self._since = now_s
        key = (event.heartbeat.node, event.network)
        self._arrivals.setdefault(key, []).append(now_s - self._since)
        if now_s - self._since >= BEATS_S:
            self._write_arrivals(self._since)

    def _write_arrivals(self, since_s: float) -> None:
        for (peer, network), offsets in self._arrivals.items():
            body = {"peer": peer, "network": network, "ms": [round(offset * 1000) for offset in offsets]}
            self._append("beats", "", "HeartbeatHeard", json.dumps(body), since_s)
        self._arrivals.clear()
        self._since = None

    def _append(self, kind: str, module: str, type_name: str, body: str, now_s: float) -> None:
        wall_s = time.time() - (time.monotonic() - now_s)
        self._history.append(Entry(self.incarnation, now_s, wall_s, kind, module, type_name, body))
