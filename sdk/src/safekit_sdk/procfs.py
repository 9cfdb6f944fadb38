"""Processes as /proc shows them: what they are, and which carry a resource's marker."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "SAFEKIT_RESOURCE"
"""The environment variable that every process of a resource carries."""


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One process as /proc/PID/stat shows it."""

    pid: int
    name: str
    state: str
    parent_pid: int
    session_id: int
    start_ticks: int
    """Clock ticks from boot to its start: with the pid its identity until the next boot."""

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def process_stat(pid: int) -> ProcessStat | None:
    """None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    return ProcessStat(pid, head.partition("(")[2], fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def describe(pids: Iterable[int]) -> str:
    """`1234 (postgres), 1240 (sh, state D)` for a message; D is a sleep that not even KILL ends. At most ten."""
    stats = [stat for pid in sorted(pids)[:10] if (stat := process_stat(pid))]
    return ", ".join(f"{s.pid} ({s.name}{', state D' if s.state == 'D' else ''})" for s in stats)


def all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names are all it needs


def environment(pid: int) -> list[bytes]:
    """`NAME=value` entries as the program was started with; empty when it is gone or not ours to read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def arguments(pid: int) -> list[str]:
    """The argument list; empty when it is gone."""
    with contextlib.suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return raw.decode(errors="replace").rstrip("\0").split("\0")
    return []


def marked(value: str) -> frozenset[int]:
    """The processes whose environment says MARKER=value. Reads that of every process of the machine."""
    wanted = f"{MARKER}={value}".encode()
    return frozenset(pid for pid in all_pids() if wanted in environment(pid))


def session_members(session_id: int) -> frozenset[int]:
    """The living processes of a session."""
    stats = (process_stat(pid) for pid in all_pids())
    return frozenset(s.pid for s in stats if s and s.session_id == session_id and s.alive)


def descendants(pid: int) -> frozenset[int]:
    """The living children of a process, theirs, and so on."""
    stats = [stat for other in all_pids() if (stat := process_stat(other)) and stat.alive]
    found: set[int] = set()
    parents = {pid}
    while parents:
        parents = {stat.pid for stat in stats if stat.parent_pid in parents} - found
        found |= parents
    return frozenset(found)


def ticks_now() -> int:
    """The present in the unit of `start_ticks`."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
