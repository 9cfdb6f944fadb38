"""Runs a look that may block in a thread of its own, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from safekit_checker_errd.finding import BlindError

T = TypeVar("T")


class Scanner(Generic[T]):
    """The thread is a daemon: a look that hangs in the kernel holds up neither the loop nor the end of the process."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._last: Future[T] | None = None

    async def scan(self, timeout_s: float) -> T:
        """What the look returns or raises; BlindError when it, or the one before, does not come back in time."""
        if self._last is not None and not self._last.done():
            raise BlindError("an earlier look at /proc has not come back from the kernel")
        outcome: Future[T] = Future()
        self._last = outcome
        outcome.set_running_or_notify_cancel()
        threading.Thread(target=self._run, args=(outcome,), name="errd-scan", daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(outcome)
        except TimeoutError:
            raise BlindError(f"a look at /proc took longer than {timeout_s:g} s") from None

    def _run(self, outcome: Future[T]) -> None:
        try:
            outcome.set_result(self._look())
        except Exception as error:  # raised again where the look is awaited
            outcome.set_exception(error)
