"""What many open pages ask for at the same moment is asked of the nodes once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
KEYS: Final = 200


@dataclass(slots=True)
class _Asked(Generic[T]):
    at_s: float
    work: asyncio.Task[T]


class Lately:
    """Answers by key, each used for a short while and then forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[Any, ...], _Asked[Any]] = OrderedDict()

    async def get(self, key: tuple[Any, ...], for_s: float, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer that is known or under way, else that of `ask`. An error is told to all who wait, and not kept."""
        known = self._known.get(key)
        if known is None or (known.work.done() and self._clock() - known.at_s > for_s):
            known = _Asked(self._clock(), asyncio.ensure_future(_run(ask)))
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > KEYS:
                self._known.popitem(last=False)
        try:
            return await asyncio.shield(known.work)
        except Exception:
            if self._known.get(key) is known:
                del self._known[key]
            raise


async def _run(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
