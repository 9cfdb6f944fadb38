"""Hosts of an earlier safekitd. The kernel asks a host to end when its daemon dies; one that stands still at that time
would go on with what it was about to start when it is woken. So each is on record, and killed before anything begins.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import structlog

from safekit_sdk.procfs import process_stat

log = structlog.get_logger("leftovers")


class HostRecords:
    """One file a module, below `directory`; it is emptied by a boot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def note(self, module: str, pid: int) -> None:
        stat = process_stat(pid)
        if stat is not None:
            (self._directory / module).write_text(f"{pid} {stat.start_ticks}\n")

    def end_all(self) -> list[int]:
        """Kill what an earlier daemon left. Return the pids."""
        ended = []
        for record in self._directory.iterdir():
            pid = _living(record)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                log.warning("a host of an earlier daemon was killed", module=record.name, pid=pid)
                ended.append(pid)
            record.unlink(missing_ok=True)
        return ended


def _living(record: Path) -> int | None:
    """The recorded process, if it still runs; another one may have its number."""
    with contextlib.suppress(OSError, ValueError):
        pid, started = map(int, record.read_text().split())
        stat = process_stat(pid)
        if stat is not None and stat.start_ticks == started:
            return pid
    return None
