"""Mounts of ours that a data path left behind when it was killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

from safekit_resource_rfs.plan import FILE_SYSTEM, mounts

_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8
_MOST: Final = 16
"""Mounts on one place; each forced stop removes them, so that there are never many."""


def detach_dead(directory: Path) -> int:
    """Detach every mount of ours on the directory, however many lie on each other; programs that have files open there
    get errors. Returns how many. OSError when the kernel refuses."""
    count = 0
    while count < _MOST and any(mount.target == directory and mount.kind == FILE_SYSTEM for mount in mounts()):
        _abort(directory)
        _unmount(directory)
        count += 1
    return count


def _abort(directory: Path) -> None:
    """Requests that nobody will answer end at once. The connection is named by the mount's device."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")
        if words[4] == os.fsencode(directory) and f" - {FILE_SYSTEM} ".encode() in line:
            minor = words[2].partition(b":")[2].decode()
            with contextlib.suppress(OSError):
                Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1", encoding="ascii")


def _unmount(directory: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(directory), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(directory))
