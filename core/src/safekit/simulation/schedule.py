"""Virtual time: what happens next, and processes that may be frozen or dead when it does."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from functools import partial

Work = Callable[[], None]


class Schedule:
    """True time, in seconds from 0. Only what happens makes it pass."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Work]] = []
        self._count = 0

    def after(self, delay_s: float, work: Work) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now_s + max(delay_s, 0.0), self._count, work))

    def run(self, until_s: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            at_s, _, work = heapq.heappop(heap)
            self.now_s = at_s
            work()
        self.now_s = until_s


class Process:
    """Work that was due while it was frozen is done, in order, when it thaws; a dead one does nothing."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.alive = True
        self.frozen = False
        self._backlog: deque[Work] = deque()

    def later(self, delay_s: float, work: Work) -> None:
        self.schedule.after(delay_s, partial(self.deliver, work))

    def deliver(self, work: Work) -> None:
        if not self.alive:
            return
        if self.frozen:
            self._backlog.append(work)
        else:
            work()

    def thaw(self) -> None:
        self.frozen = False
        while self._backlog and self.alive and not self.frozen:
            self._backlog.popleft()()

    def kill(self) -> None:
        self.alive = False
        self._backlog.clear()
