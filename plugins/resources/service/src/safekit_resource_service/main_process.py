"""The main process of a service: known by a note of ours, or by the program's own pid file."""

from __future__ import annotations

import contextlib
from pathlib import Path

from safekit_sdk.procfs import process_stat


def read_pidfile(path: Path) -> int | None:
    """The living process that a program says is its main one."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_text(encoding="ascii").split()[0])
        stat = process_stat(pid) if pid > 0 else None
        return pid if stat is not None and stat.alive else None
    return None


class Noted:
    """A process id with the time of its start, so that a later process with the same id is not taken for it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, pid: int) -> None:
        stat = process_stat(pid)
        if stat is not None:
            self._path.write_text(f"{pid} {stat.start_ticks}\n", encoding="ascii")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """None when there is no note, or the process is gone."""
        with contextlib.suppress(OSError, ValueError):
            pid, ticks = map(int, self._path.read_text(encoding="ascii").split())
            stat = process_stat(pid)
            return pid if stat is not None and stat.alive and stat.start_ticks == ticks else None
        return None
