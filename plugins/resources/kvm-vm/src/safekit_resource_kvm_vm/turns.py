"""Guests of a node start a few at a time, the most important first, so that one node that gets all of them is not
drowned.

A turn is a lock on one of `at_once` files, which every module's host on this node sees and the kernel frees when its
process ends. Who waits has a locked file named by its priority; a turn is left to it by all that are less important.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.1
_HIGHEST: Final = 1000
_numbers = itertools.count()


class Turn:
    """Held by an open file until it is given back, or its time is over."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, place: Path, name: str, priority: int, at_once: int) -> None:
        self.give_back()
        os.makedirs(place, mode=0o700, exist_ok=True)  # noqa: PTH103 - no waiting
        rank = f"{_HIGHEST - priority:04d}-{time.monotonic_ns():020d}-{os.getpid()}-{next(_numbers)}-{name}"
        with _locked(place / f"waits-{rank}"):
            while (fd := _free(place, at_once, f"waits-{rank}")) is None:  # noqa: ASYNC110 - others give them back
                await asyncio.sleep(LOOK_S)
        self._fd = fd

    def keep(self, seconds: float) -> None:
        """Give it back so long from now."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.give_back)

    def give_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """It has its name only once it is locked, or others would take it for one that a dead process left."""
    fresh = path.with_name(f"new-{path.name}")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _free(place: Path, at_once: int, own: str) -> int | None:
    """A turn, unless all are taken or another is to be served first."""
    ahead = sum(1 for path in place.glob("waits-*") if path.name < own and _is_alive(path))
    free: list[int] = []
    for number in range(at_once):
        fd = os.open(place / f"turn-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _lock(fd):
            free.append(fd)
        else:
            os.close(fd)
    chosen = free.pop() if len(free) > ahead else None
    for fd in free:
        os.close(fd)
    return chosen


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(path: Path) -> bool:
    """Whether its owner still waits; what a dead one left is removed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not _lock(fd):
            return True
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(fd)
