"""PostgreSQL's processes on this machine: those of this module, and strangers on the same data.

Each backend is the leader of a session of its own, and overwrites its environment, with the marker in it, by the title
that `ps` shows. So they are found by their cgroup, as descendants, and as orphans by the directory in which they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_sdk.process import Family, end_processes
from safekit_sdk.procfs import arguments, descendants, process_stat, working_in

_NAMES: Final = frozenset({"postgres", "postmaster"})
_TITLE: Final = "postgres: "
"""How the command line of every process begins that a server has forked."""


@dataclass(frozen=True, slots=True)
class Processes:
    family: Family
    data: Path

    def pids(self) -> frozenset[int]:
        own = self.family.pids()
        children = frozenset[int]().union(*(descendants(pid) for pid in own))
        return (own | children | self._orphans()) - {os.getpid()}

    def main(self) -> int | None:
        """The living server that the module started."""
        own = self.family.pids()
        for pid in sorted(own):
            stat = process_stat(pid)
            if stat and stat.alive and stat.parent_pid not in own and not _is_child(pid):
                return pid
        return None

    def strangers(self) -> frozenset[int]:
        """Servers on the same data that the module did not start."""
        return frozenset(pid for pid in self._here() if not _is_child(pid)) - self.pids()

    async def end(self, grace_s: float) -> None:
        """ConfigError that names what not even SIGKILL ends."""
        await end_processes(self.pids, grace_s, cgroup=self.family.cgroup)
        await self.family.end_all(0.0)

    def recovering(self) -> str:
        """What the process that recovers says of itself: `startup recovering 000000010000000000000003`."""
        titles = [arguments(pid)[:1] for pid in self.pids() if _is_child(pid)]
        said = [title[0].removeprefix(_TITLE).strip() for title in titles if title and "startup" in title[0]]
        return said[0] if said else ""

    def _here(self) -> frozenset[int]:
        """Every process called postgres whose working directory is the data directory, as a server's always is."""
        return working_in(self.data, _NAMES)

    def _orphans(self) -> frozenset[int]:
        here = self._here()
        stats = (process_stat(pid) for pid in here if _is_child(pid))
        return frozenset(stat.pid for stat in stats if stat and stat.parent_pid not in here)


def _is_child(pid: int) -> bool:
    title = arguments(pid)
    return bool(title) and title[0].startswith(_TITLE)
