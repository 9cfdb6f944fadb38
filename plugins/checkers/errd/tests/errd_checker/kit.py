"""An errd checker, and what its watch says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from safekit_checker_errd import ErrdChecker, ErrdConfig

from safekit_sdk import Context, Health, Verdict
from safekit_sdk.testing import a_context


def checker(cgroup: Path | None = None, place: Path | None = None, **settings: Any) -> ErrdChecker:
    """Looks once an hour unless it is told otherwise."""
    config = ErrdConfig(**{"interval": "1h", **settings})
    if place is not None:
        return ErrdChecker(config, a_context(place, name="test", cgroup=cgroup))
    return ErrdChecker(config, Context("web", "mirror", "n1", "test", cgroup=cgroup))


@contextlib.asynccontextmanager
async def watching(watched: ErrdChecker) -> AsyncIterator[Callable[[], Any]]:
    """A function that returns the next verdict, within 20 s."""
    verdicts = watched.watch()
    try:
        yield lambda: asyncio.wait_for(anext(verdicts), 20)
    finally:
        await verdicts.aclose()  # type: ignore[attr-defined]


async def first(watched: ErrdChecker) -> Verdict:
    async with watching(watched) as verdict:
        said: Verdict = await verdict()
        return said


async def until(verdict: Callable[[], Any], health: Health) -> Verdict:
    """The first of its verdicts with this health."""
    while True:
        said: Verdict = await verdict()
        if said.health is health:
            return said
