"""What several watches say as one: down as soon as one is, up when all are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from safekit_sdk import Health, Verdict

_WAITING: Final = 16
"""Verdicts that nobody has taken yet; a watch that has more to say waits."""
Said = tuple[str, Verdict]


async def together(watches: Mapping[str, AsyncIterator[Verdict]]) -> AsyncGenerator[Verdict, None]:
    """A watch that fails or ends is the end of all."""
    latest: dict[str, Verdict] = {}
    said: asyncio.Queue[Said] = asyncio.Queue(maxsize=_WAITING)
    tasks = [asyncio.create_task(_pass_on(name, watch, said)) for name, watch in watches.items()]
    try:
        while True:
            name, verdict = await _next(said, tasks)
            latest[name] = verdict
            if verdict.health is not Health.UP:
                yield Verdict(verdict.health, f"{name}: {verdict.reason}", verdict.facts)
            elif len(latest) == len(watches) and all(each.health is Health.UP for each in latest.values()):
                yield Verdict.up(f"{len(watches)} containers run")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def nothing_runs(pause_s: float) -> AsyncGenerator[Verdict, None]:
    """The watch of what has not been started."""
    while True:
        yield Verdict.down("no container runs")
        await asyncio.sleep(pause_s)


async def _next(said: asyncio.Queue[Said], tasks: list[asyncio.Task[None]]) -> Said:
    getting = asyncio.create_task(said.get())
    try:
        await asyncio.wait({getting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
                raise RuntimeError("a watch ended")
        return await getting
    finally:
        getting.cancel()


async def _pass_on(name: str, watch: AsyncIterator[Verdict], said: asyncio.Queue[Said]) -> None:
    async for verdict in watch:
        await said.put((name, verdict))
