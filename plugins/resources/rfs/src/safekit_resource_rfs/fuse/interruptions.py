"""Requests of threads that got a signal while they wait.

A signal that does not end the process changes nothing, as on a disk: no program expects that mkdir(2) or a write to a
file is interrupted."""

from __future__ import annotations

import asyncio
import re
import signal
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

LOOK_S: Final = 0.2
"""Until the next look at who waits still: the kernel tells of the first signal only."""
_LOOKS: Final = 64
"""At a time."""
_FIELDS: Final = re.compile(rb"^(SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt):\s*([0-9a-f]+)$", re.MULTILINE)
_HARMLESS: Final = sum(
    1 << number - 1
    for number in (
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP),
        *(signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH),
    )
)
"""They do not end a process that does not handle them."""


class Waiting(Protocol):
    """A request."""

    unique: int
    pid: int
    answered: bool

    def give_up(self) -> None:
        """Answer EINTR, if it may be given up at this moment."""


class Interruptions:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Waiting] = {}
        """In the order in which they are looked at."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, request: Waiting) -> None:
        self._waiting[request.unique] = request
        self._look_at(request)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        for request in list(islice(self._waiting.values(), _LOOKS)):
            del self._waiting[request.unique]
            if not request.answered:
                self._waiting[request.unique] = request
                self._look_at(request)
        self._timer = self._loop.call_later(LOOK_S, self._look) if self._waiting else None

    @staticmethod
    def _look_at(request: Waiting) -> None:
        if is_ending(request.pid):
            request.give_up()

    def close(self) -> None:
        self._waiting.clear()
        if self._timer:
            self._timer.cancel()


def is_ending(thread_id: int) -> bool:
    """Whether it is gone, or a signal is pending that ends its process. Of one that is not seen from here nothing is
    known: False."""
    if thread_id <= 0:
        return False
    try:
        status = Path(f"/proc/{thread_id}/status").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False
    signals = {name: int(value, 16) for name, value in _FIELDS.findall(status)}
    pending = signals.get(b"SigPnd", 0) | signals.get(b"ShdPnd", 0)
    survived = signals.get(b"SigBlk", 0) | signals.get(b"SigIgn", 0) | signals.get(b"SigCgt", 0) | _HARMLESS
    return bool(pending & ~survived)
