"""Processes as /proc shows them: what they are, and which carry a resource's marker."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "SAFEKIT_RESOURCE"
"""The environment variable that every process of a resource carries."""
_KERNEL_THREAD = 0x00200000
_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""
_EXEC_LOOKS = 50
_EXEC_LOOK_S = 0.0005


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
    flags: int = 0
    """The kernel's, include/linux/sched.h."""

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"

    @property
    def of_kernel(self) -> bool:
        return bool(self.flags & _KERNEL_THREAD)


def process_stat(pid: int) -> ProcessStat | None:
    """None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    parent_pid, session_id, flags, start_ticks = (int(fields[index]) for index in (1, 3, 6, 19))
    return ProcessStat(pid, head.partition("(")[2], fields[0], parent_pid, session_id, start_ticks, flags)


def describe(pids: Iterable[int]) -> str:
    """`1234 (postgres), 1240 (sh, state D)` for a message; D is a sleep that not even KILL ends. At most ten."""
    stats = [stat for pid in sorted(pids)[:10] if (stat := process_stat(pid))]
    return ", ".join(f"{s.pid} ({s.name}{', state D' if s.state == 'D' else ''})" for s in stats)


def all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names are all it needs


def environment(pid: int) -> list[bytes]:
    """`NAME=value` entries as the program was started with; empty when it is gone or not ours to read.
    Within execve() a process has none for an instant, which is waited out (at most 25 ms)."""
    content = b""
    for _ in range(_EXEC_LOOKS):
        content = _read(pid, "environ")
        if content or not _is_within_exec(pid):
            break
        time.sleep(_EXEC_LOOK_S)
    return (content or _read(pid, "environ")).split(b"\0")


def _is_within_exec(pid: int) -> bool:
    """Neither arguments nor environment are there yet."""
    if _read(pid, "cmdline"):
        return False
    stat = process_stat(pid)
    return stat is not None and stat.alive and not stat.of_kernel


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def arguments(pid: int) -> list[str]:
    """The argument list; empty when it is gone."""
    raw = _read(pid, "cmdline")
    return raw.decode(errors="replace").rstrip("\0").split("\0") if raw else []


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


def working_in(directory: Path, names: Collection[str]) -> frozenset[int]:
    """The living processes with one of these names whose working directory it is, as that of a database server is its
    data directory."""
    wanted = os.path.realpath(directory)
    stats = (process_stat(pid) for pid in all_pids() if _working_directory(pid) == wanted)
    return frozenset(stat.pid for stat in stats if stat and stat.alive and stat.name in names)


def _working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - not a file's name: it may end in " (deleted)"
    except OSError:
        return ""


def listens(pid: int) -> bool:
    """Whether it has a listening TCP socket open."""
    own = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                own.add(os.readlink(entry))  # noqa: PTH115 - not a path: socket:[1234]
    return bool(own & _listening(pid))


def _listening(pid: int) -> set[str]:
    """The listening sockets of its network, as /proc/PID/fd names them."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found.add(f"socket:[{fields[9]}]")
    return found


def ticks_now() -> int:
    """The present in the unit of `start_ticks`."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
