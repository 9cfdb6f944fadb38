"""Sends what is queued, again and again within bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from safekit_notify import service, snmp
from safekit_notify.config import Destination, NotifyConfig
from safekit_notify.message import Message
from safekit_notify.store import Queued, Store

log = logging.getLogger("safekit.notify")
PAUSE_S: Final = 0.5
FIRST_S: Final = 5.0
"""To the second try; each further one waits twice as long."""
LONGEST_S: Final = 300.0
TRIES: Final = 12
"""About half an hour."""
Send = Callable[[Message], str]
"""Empty when it was taken; else why not, without a secret."""


def ways(config: NotifyConfig, var: Path) -> dict[str, Send]:
    """By the destination's name."""
    return {destination.name: _way(destination, var) for destination in config.destinations}


def _way(destination: Destination, var: Path) -> Send:
    if destination.snmp is not None:
        manager, place = destination.snmp, var / "snmp" / destination.name
        return lambda message: snmp.send(manager, message, place)
    url = destination.url.get_secret_value() if destination.url is not None else ""
    return lambda message: service.send(url, message)


class Sender:
    def __init__(self, store: Store, send: Mapping[str, Send]) -> None:
        self._store = store
        self._send = send

    def run(self, end: threading.Event) -> None:
        """Until `end`; a message that is under way then is ended first."""
        while not end.wait(PAUSE_S):
            for queued in self._store.queued():
                if queued.due_s <= time.time() and not end.is_set():
                    self.deliver(queued, time.time())

    def deliver(self, queued: Queued, now_s: float) -> None:
        send = self._send.get(queued.destination)
        trouble = send(queued.message) if send is not None else "there is no such destination any more"
        if trouble:
            self._defer(queued, trouble, now_s, is_last=send is None or queued.tries + 1 >= TRIES)
        else:
            self._store.sent(queued)
            log.info("told %s: %s", queued.destination, queued.message.title)

    def _defer(self, queued: Queued, error: str, now_s: float, *, is_last: bool) -> None:
        due_s = None if is_last else now_s + min(FIRST_S * 2**queued.tries, LONGEST_S)
        what = "given up" if is_last else "to be tried again"
        log.warning("%s was not told, %s: %s: %s", queued.destination, what, error, queued.message.title)
        self._store.not_sent(queued, error, due_s)
