"""Apache's main process among those of the module, and whether it listens."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from safekit_sdk.process import Family
from safekit_sdk.procfs import process_stat

_LISTEN: Final = "0A"


def find(family: Family) -> int | None:
    """The living leader of the session in which Apache was started. Its workers have the same session and may
    outlive it."""
    for pid in family.pids():
        stat = process_stat(pid)
        if stat is not None and stat.alive and stat.session_id == pid:
            return pid
    return None


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
