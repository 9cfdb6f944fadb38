"""`postmaster.pid`, the lock file of a data directory: who serves it and where, and what a crash left of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_sdk import ConfigError
from safekit_sdk.procfs import process_stat

NAME: Final = "postmaster.pid"
_MAX_BYTES: Final = 8192
_READY: Final = frozenset({"ready", "standby"})


@dataclass(frozen=True, slots=True)
class LockFile:
    """What the server has written into it: https://www.postgresql.org/docs/current/storage-file-layout.html"""

    pid: int
    port: int = 0
    sockets: str = ""
    """The first directory of its sockets."""
    shared_memory_id: int = -1
    state: str = ""
    """`starting`, `ready`, `standby` or `stopping`."""

    @property
    def is_ready(self) -> bool:
        return self.state in _READY

    @property
    def socket(self) -> Path:
        return Path(self.sockets) / f".s.PGSQL.{self.port}"


def read(path: Path) -> LockFile | None:
    """None when there is none. One that is being written has its first lines only."""
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        lines = file.read(_MAX_BYTES).decode(errors="replace").splitlines()
        lines += [""] * (8 - len(lines))
        memory = lines[6].split()
        memory_id = int(memory[1]) if len(memory) == 2 else -1
        return LockFile(abs(int(lines[0])), int(lines[3] or 0), lines[4].strip(), memory_id, lines[7].strip())
    return None


def clear(path: Path) -> str:
    """Remove a lock file whose server is gone and whose process id another program has now: PostgreSQL would take that
    for the server. One whose process id nobody has is left: PostgreSQL replaces it, and looks at more than that.
    Called when no server runs on the data. Returns what it did, or nothing."""
    found = read(path)
    stat = process_stat(found.pid) if found else None
    if found is None or stat is None:
        return ""
    if attached := _attached(found.shared_memory_id):
        raise ConfigError(
            f"{path}: {attached} processes still use the shared memory of an earlier server",
            hint=f"`ipcs -m -i {found.shared_memory_id}` names the last; end them, then start again",
        )
    path.unlink(missing_ok=True)
    return f"removed {path} of an earlier server: its process id {found.pid} is now {stat.name}"


def _attached(memory_id: int) -> int:
    """How many processes are attached to a System V shared memory segment."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if int(fields[1]) == memory_id:
                return int(fields[6])
    return 0
