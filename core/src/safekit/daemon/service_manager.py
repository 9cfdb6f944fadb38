"""What safekitd tells the service manager that started it: sd_notify(3). Nothing is said where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

MOST_OFTEN: Final = 3
"""It is told so many times, at most, within the time after which it takes us for hung."""


class ServiceManager:
    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._every_s = _watchdog_s(environment) / MOST_OFTEN
        """0 when it does not watch."""
        self._alive_s = 0.0

    def ready(self, status: str) -> None:
        """Everything is served from now on. The status is a line for `systemctl status`, told again when it changes."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Called in each turn of the loop that makes progress, and by no other: it says that this loop turns."""
        now_s = time.monotonic()
        if self._every_s and now_s - self._alive_s >= self._every_s:
            self._alive_s = now_s
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=handing its modules over, or stopping them\nWATCHDOG=1")

    def _tell(self, state: str) -> None:
        """A manager that does not listen must not hold us up."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            notify.connect(f"\0{self._address[1:]}" if self._address.startswith("@") else self._address)
            notify.send(state.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """sd_watchdog_enabled(3): for this process, or for whoever it may be."""
    try:
        period_s = int(environment["WATCHDOG_USEC"]) / 1e6
        return period_s if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid() else 0.0
    except (KeyError, ValueError):
        return 0.0
