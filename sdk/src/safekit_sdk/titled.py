"""The processes of programs that overwrite their environment, with the marker in it, by the title that `ps` shows.

All of them stay in the session of the first, so the first is noted and its session looked for, besides the cgroup.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk.process import Family, end_processes
from safekit_sdk.procfs import process_stat, session_members


@dataclass(frozen=True, slots=True)
class TitledFamily:
    family: Family
    note: Path
    """Where the first process is written down: its id, and the clock ticks of its start."""

    def remember(self, pid: int) -> None:
        stat = process_stat(pid)
        if stat is not None:
            self.note.write_text(f"{pid} {stat.start_ticks}\n", encoding="ascii")

    def main(self) -> int | None:
        """The master process, if it lives."""
        pid, ticks = self._noted()
        stat = process_stat(pid) if pid else None
        return pid if stat and stat.alive and stat.start_ticks == ticks else None

    def pids(self) -> frozenset[int]:
        return self.family.pids() | self._session()

    async def end(self, grace_s: float) -> None:
        """ConfigError that names what not even SIGKILL ends."""
        await end_processes(self.pids, grace_s, cgroup=self.family.cgroup)
        await self.family.end_all(0.0)
        if not self._session():
            self.note.unlink(missing_ok=True)

    def _session(self) -> frozenset[int]:
        """Members outlive the master. When another process has its id, then nothing of its session was left."""
        pid, ticks = self._noted()
        stat = process_stat(pid) if pid else None
        if not pid or (stat and stat.start_ticks != ticks):
            return frozenset()
        return session_members(pid)

    def _noted(self) -> tuple[int, int]:
        with contextlib.suppress(OSError, ValueError):
            pid, ticks = self.note.read_text(encoding="ascii").split()
            return int(pid), int(ticks)
        return 0, 0
