"""How a process that is not our child ended, as far as the kernel tells."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from pathlib import Path

from safekit_sdk.procfs import ProcessStat

# linux/pidfd.h: struct pidfd_info begins with a mask and ends its first version with the wait status.
_INFO = struct.Struct("=Q52xi")
_PIDFD_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3
_START_TICKS, _EXIT_CODE = 19, 49
"""Fields 22 and 52 of proc_pid_stat(5), counted from the state."""


def how_it_ended(pidfd: int, stat: ProcessStat) -> str:
    """`was killed by SIGKILL`, `exited with status 1`, or only `ended`."""
    status = _status_of_reaped(pidfd)
    if status is None:
        status = _status_of_zombie(stat)
    return "ended" if status is None else _in_words(status)


def _status_of_reaped(pidfd: int) -> int | None:
    """From Linux 6.15, once its parent has reaped it."""
    request = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, 0))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    mask, status = _INFO.unpack(request)
    return status if mask & _PIDFD_INFO_EXIT else None


def _status_of_zombie(stat: ProcessStat) -> int | None:
    """Before its parent has reaped it; only root is told (others read 0)."""
    try:
        text = Path(f"/proc/{stat.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    same = fields[0] == "Z" and int(fields[_START_TICKS]) == stat.start_ticks
    return int(fields[_EXIT_CODE]) if same and os.geteuid() == 0 else None


def _in_words(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"was killed by signal {number}"
