"""The watch of a checker or resource that runs beside a test, which waits for what it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from safekit_sdk.checker import Checker
from safekit_sdk.resource import Resource
from safekit_sdk.verdict import Health, Verdict

BOUND_S: Final = 5.0
"""The longest that a test waits for a verdict."""


class Said:
    """What it said, in order."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self._news = asyncio.Event()

    def add(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self._news.set()

    async def becomes(self, health: Health) -> Verdict:
        """The latest verdict, as soon as it has this health."""
        await self._until(lambda: bool(self.verdicts) and self.verdicts[-1].health is health)
        return self.verdicts[-1]

    async def are(self, count: int) -> None:
        """Wait until it has said so many."""
        await self._until(lambda: len(self.verdicts) >= count)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def watched(watcher: Checker[Any] | Resource[Any]) -> AsyncIterator[Said]:
    """`async with watched(checker) as said: …; verdict = await said.becomes(Health.DOWN)`"""
    said = Said()

    async def listen() -> None:
        async for verdict in watcher.watch():
            said.add(verdict)

    task = asyncio.create_task(listen())
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.wait({task})
