"""Sees the event loop stand still, and where."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass

TICK_S = 0.01


@dataclass(slots=True)
class Stall:
    """The longest time that the loop did not turn."""

    longest_s: float = 0.0
    where: str = ""
    """What the loop's thread was doing during it."""


class _Heartbeat:
    """A task beats in the loop; a thread looks whether it does, and takes the stack when it does not."""

    def __init__(self, stall: Stall) -> None:
        self._stall = stall
        self._thread_id = threading.get_ident()
        self._beat_s = time.monotonic()
        self._done = threading.Event()

    async def beat(self) -> None:
        while True:
            self._note(time.monotonic())
            self._beat_s = time.monotonic()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        while not self._done.wait(TICK_S):
            self._note(time.monotonic())

    def _note(self, now_s: float) -> None:
        stood_s = now_s - self._beat_s
        if stood_s > max(self._stall.longest_s, 5 * TICK_S):
            self._stall.longest_s = stood_s
            if threading.get_ident() != self._thread_id:
                frame = sys._current_frames()[self._thread_id]
                self._stall.where = "".join(traceback.format_stack(frame)[-4:])

    def end(self) -> None:
        self._done.set()


@contextlib.asynccontextmanager
async def watched_loop() -> AsyncIterator[Stall]:
    """Yield a record of the longest stall of this loop within the block."""
    stall = Stall()
    heartbeat = _Heartbeat(stall)
    thread = threading.Thread(target=heartbeat.look, name="stall", daemon=True)
    thread.start()
    task = asyncio.create_task(heartbeat.beat())
    await asyncio.sleep(0)
    try:
        yield stall
        await asyncio.sleep(0)
    finally:
        heartbeat.end()
        task.cancel()
        await asyncio.wait({task})
        thread.join()
