"""A watch that runs while a test changes what it watches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from safekit_sdk.checker import Checker
from safekit_sdk.resource import Resource
from safekit_sdk.verdict import Health, Verdict


class Watched:
    """Runs a watch in a task and keeps what it says."""

    def __init__(self, watcher: Checker[Any] | Resource[Any]) -> None:
        self._watcher = watcher
        self._news = asyncio.Event()
        self.said: list[Verdict] = []

    async def _listen(self) -> None:
        async for verdict in self._watcher.watch():
            self.said.append(verdict)
            self._news.set()

    async def __aenter__(self) -> Watched:
        self._task = asyncio.create_task(self._listen())
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        done, _ = await asyncio.wait({self._task}, timeout=10)
        assert done, "the watch went on after it was cancelled"
        if not self._task.cancelled():
            self._task.result()
            pytest.fail("the watch ended by itself")

    async def says(self, wanted: Health, bound_s: float) -> bool:
        """Whether its latest word is, or within the bound becomes, the wanted one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                while not (self.said and self.said[-1].health is wanted):
                    if self._task.done():
                        return False
                    self._news.clear()
                    await self._news.wait()
                return True
        return False
