"""Follows what is decided in the cluster, and makes messages of it, unless another node does."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from safekit_notify.cluster import Cluster, Living
from safekit_notify.config import NotifyConfig
from safekit_notify.incidents import Event, Incident, ended_s, split
from safekit_notify.message import Message, write
from safekit_notify.store import Store
from safekit_sdk import SafekitError

log = logging.getLogger("safekit.notify")
PAUSE_S: Final = 0.5
"""Between two looks at a cluster that changes all the time."""
WAIT_S: Final = 5.0
"""Without a change that is heard of on this node, the others are asked so often."""
OLDEST_S: Final = 3600.0
"""What happened longer ago, while nobody followed it, is no news."""
EXPECTED: Final = (SafekitError, TimeoutError, OSError, ValueError, KeyError, TypeError)
"""The last three: of a node of another version."""


class Follower:
    def __init__(self, cluster: Cluster, store: Store, config: NotifyConfig) -> None:
        self._cluster = cluster
        self._store = store
        self._config = config
        self._incarnations: dict[str, int] = {}
        self._published: tuple[list[str], set[str]] | None = None

    def run(self, end: threading.Event) -> None:
        """Until `end`."""
        at, is_lost = "", False
        while not end.wait(PAUSE_S):
            try:
                at = self._cluster.changes(at, PAUSE_S if self._store.events() else WAIT_S)
                self.turn(time.time())
                is_lost = False
            except EXPECTED as error:
                if not is_lost:
                    log.warning("the cluster cannot be followed: %s", error)
                is_lost = True

    def turn(self, now_s: float) -> None:
        """One look."""
        living = self._cluster.living()
        for node, incarnation in living.incarnations.items():
            try:
                self._read(node, incarnation, now_s)
            except EXPECTED as error:
                log.info("%s cannot be read: %s", node, error)
        self._judge(living, now_s)
        self._publish(living.own)

    def _read(self, node: str, incarnation: int, now_s: float) -> None:
        place = self._store.place(node)
        if place is None or self._incarnations.get(node) != incarnation:
            last = self._cluster.last_number(node)
            place = last if place is None else min(place, last)  # a journal may have begun anew
            self._store.take(node, place, ())
            self._incarnations[node] = incarnation
        found = self._cluster.decisions(node, place, now_s)
        if found:
            fresh = [event for event in found if now_s - event.wall_s < OLDEST_S]
            self._store.take(node, found[-1].number, fresh)

    def _judge(self, living: Living, now_s: float) -> None:
        quiet_s, longest_s = self._config.quiet.seconds, self._config.longest.seconds
        over = []
        for incident in split(self._store.events(), quiet_s, longest_s):
            end_s = ended_s(incident, quiet_s, longest_s)
            if now_s < end_s:
                continue
            if now_s - end_s > OLDEST_S or not self._is_wanted(incident):
                self._store.forget(event.key for event in incident.events)
            else:
                over.append((incident, end_s))
        if not over:
            return
        claims = self._cluster.claims()
        others = {key for node in living.incarnations if node != living.own for key in claims.claimed.get(node, ())}
        for incident, end_s in over:
            keys = {event.key for event in incident.events}
            self._store.tell(keys & claims.told)
            left = incident.without(set(claims.told))
            is_ours = not keys & others and now_s >= end_s + living.rank * self._config.stand_in.seconds
            if left is not None and is_ours:
                self._queue(left, living.cluster, now_s)

    def _is_wanted(self, incident: Incident) -> bool:
        return any(incident.part(one.modules, one.severity) for one in self._config.destinations)

    def _queue(self, incident: Incident, cluster: str, now_s: float) -> None:
        whys: dict[str, dict[str, Any]] = {}
        messages: list[tuple[str, Message]] = []
        for destination in self._config.destinations:
            if (part := incident.part(destination.modules, destination.severity)) is None:
                continue
            main = part.main
            if main.key not in whys:
                whys[main.key] = self._why(main)
            messages.append((destination.name, write(part, cluster, whys[main.key])))
        self._store.queue(tuple(event.key for event in incident.events), messages, now_s)

    def _why(self, event: Event) -> dict[str, Any]:
        """Its node may be the one that is gone: then the decision speaks for itself."""
        try:
            return self._cluster.why(event) if event.module else {}
        except EXPECTED:
            return {}

    def _publish(self, own: str) -> None:
        state = self._store.told(), self._store.claimed()
        if state != self._published:
            self._cluster.publish(own, *state)
            self._published = state
