"""The comparisons that a primary makes with its secondary: one at a time, and what the last one found."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from safekit_resource_rfs.roles import Primary
from safekit_resource_rfs.sender import State
from safekit_resource_rfs.verifying import Verification
from safekit_sdk import ConfigError

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verified:
    """A comparison that came to its end."""

    at_s: float
    """In seconds since 1970."""
    files: int
    differences: int


class Comparisons:
    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self.latest: Verification | None = None
        """It may still go on, or have been broken off."""
        self.verified: Verified | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, primary: Primary | None) -> None:
        """Unless one goes on. What differs is marked, for the next resynchronisation."""
        if primary is None or primary.sender.state is not State.PAIRED:
            raise ConfigError(
                "a comparison is begun on the primary while both nodes are paired",
                hint="`safekit rfs status` on both nodes says how it stands",
            )
        if not self.is_running:
            self.latest = primary.verification()
            self._task = asyncio.get_running_loop().create_task(self._run(primary, self.latest))

    def cancel(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self, primary: Primary, verification: Verification) -> None:
        await verification.run()
        found = verification.differences
        if not verification.failure:
            self.verified = Verified(time.time(), verification.course.files_done, len(found))
            _LOG.log(logging.WARNING if found else logging.INFO, told(self.verified))
        await primary.mark(difference.path for difference in found)
        self._changed()


def told(verified: Verified) -> str:
    """In a sentence."""
    if not verified.differences:
        return f"both nodes were compared: {verified.files} files, all equal"
    return f"both nodes were compared: {verified.differences} of {verified.files} files differ; see `safekit rfs diff`"
