"""The processes that were found, each watched by a pidfd so that its end is known at once."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from safekit_checker_errd.ending import how_it_ended
from safekit_sdk.process import open_pidfd
from safekit_sdk.procfs import ProcessStat, process_stat

WATCHED_MAX = 256
"""Processes watched at a time; the end of any more is seen by the next look."""
DEATHS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Death:
    pid: int
    name: str
    how: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.name}) {self.how}"


class Roster:
    """Made and used on the event loop; `close` gives every descriptor back."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known: dict[int, ProcessStat] = {}
        self._pidfds: dict[int, int] = {}
        self._shrunk = asyncio.Event()
        self.deaths: deque[Death] = deque(maxlen=DEATHS_KEPT)
        """The last ones seen, the newest last."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def pids(self) -> list[int]:
        return sorted(self._known)

    async def wait_below(self, count: int) -> None:
        """Return when fewer than `count` are left, at once if it is so already."""
        while len(self._known) >= count:
            self._shrunk.clear()
            await self._shrunk.wait()

    def update(self, found: Mapping[int, ProcessStat]) -> None:
        """Know those found and no others. One that is no longer found without having ended became another program."""
        for pid, stat in list(self._known.items()):
            if pid not in found or found[pid].start_ticks != stat.start_ticks:
                self._forget(pid)
        for pid, stat in found.items():
            if pid not in self._pidfds:
                self._add(stat)

    def close(self) -> None:
        for pid in list(self._known):
            self._forget(pid)

    def _add(self, stat: ProcessStat) -> None:
        pidfd = open_pidfd(stat.pid, stat.start_ticks) if len(self._pidfds) < WATCHED_MAX else None
        if pidfd is not None:
            self._pidfds[stat.pid] = pidfd
            self._loop.add_reader(pidfd, self._ended, stat.pid)
        elif not _lives(stat):
            self._known.pop(stat.pid, None)
            return
        self._known[stat.pid] = stat

    def _ended(self, pid: int) -> None:
        stat = self._known[pid]
        self.deaths.append(Death(pid, stat.name, how_it_ended(self._pidfds[pid], stat)))
        self._forget(pid)
        self._shrunk.set()

    def _forget(self, pid: int) -> None:
        del self._known[pid]
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)


def _lives(stat: ProcessStat) -> bool:
    now = process_stat(stat.pid)
    return now is not None and now.alive and now.start_ticks == stat.start_ticks
