"""Several asked at the same time, the first answer taken."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from safekit_sdk import ConfigError

T = TypeVar("T")


async def first(works: Iterable[Coroutine[Any, Any, T | None]]) -> T | None:
    """The first result that is not None; the other works are cancelled, and have ended when it returns. Without one,
    the last ConfigError that a work raised is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    trouble: ConfigError | None = None
    try:
        for task in asyncio.as_completed(tasks):
            try:
                if (found := await task) is not None:
                    return found
            except ConfigError as error:
                trouble = error
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if trouble is not None:
        raise trouble
    return None
