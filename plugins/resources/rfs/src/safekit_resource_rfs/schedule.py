"""What a data path does by the calendar."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from safekit_resource_rfs.config import RfsConfig
from safekit_resource_rfs.timetable import Alarm, Opening, Times
from safekit_sdk import ConfigError

_LOG: Final = logging.getLogger(__name__)
LOOK_S: Final = 1.0
"""Between two looks at the wall clock."""


class Schedule:
    """Runs until closed. `verify` raises ConfigError when it cannot be done now."""

    def __init__(self, config: RfsConfig, verify: Callable[[], None], changed: Callable[[], None]) -> None:
        self.opening = Opening(Times(config.sync_at) if config.sync_at else None)
        self._alarm = Alarm(Times(config.verify_at), time.time()) if config.verify_at else None
        self._verify = verify
        self._changed = changed
        self._task = asyncio.get_running_loop().create_task(self._run()) if self._alarm or config.sync_at else None

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(time.time())

    def look(self, now_s: float) -> None:
        if self.opening.look(now_s):
            _LOG.info("sync_at: the other node may be brought up to date")
            self._changed()
        if self._alarm and self._alarm.is_due(now_s):
            try:
                self._verify()
            except ConfigError as error:
                _LOG.warning("verify_at: not compared: %s", error.message)
