"""A process that does not outlive its parent: prctl(2), PR_SET_PDEATHSIG."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_SET_DEATH_SIGNAL: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork: a child between fork and exec only calls it."""


def end_with_parent(number: signal.Signals = signal.SIGKILL, parent_pid: int | None = None) -> None:
    """Have the kernel send this process the signal when the thread that forked it ends, however that ends.

    `parent_pid`, where the parent may have ended already: then this process ends at once. What this process forks
    does not inherit it, and exec(2) keeps it, unless the program is set-user-ID or has capabilities of its own.
    """
    _LIBC.prctl(_SET_DEATH_SIGNAL, int(number), 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)
