"""Tells who waits for it that something changed here or was heard of: the console does, to show it at once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from pydantic import Field

from safekit.daemon.operations import Args, Operations, Power


class ChangesArgs(Args):
    after: Annotated[str, Field(max_length=64)] = ""
    """What the last answer said; empty: answer at once."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 20.0


class Changes:
    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._number = 0
        self._changed = asyncio.Event()

    def register(self, operations: Operations) -> None:
        operations.add("changes", ChangesArgs, self.changes, peers=False, needs=Power.LOOK)

    def note(self) -> None:
        """Cheap: no more than a number where nobody waits."""
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self, args: ChangesArgs) -> dict[str, Any]:
        """Where it stands: at once when that is not `after`, else with the next change or at the end of the time."""
        if args.after == self._place:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(args.timeout_s):
                    await self._changed.wait()
        return {"at": self._place}

    @property
    def _place(self) -> str:
        return f"{self._incarnation}.{self._number}"
