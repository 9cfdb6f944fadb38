"""Mounts of ours on a directory whose data path was killed, or is to be by force."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from safekit_resource_rfs.fuse.mounting import KIND, detach_dead, is_mounted, unmount
from safekit_sdk import ConfigError

_MOST: Final = 16
"""Mounts on one place; each forced stop removes them, so that there are never many."""


def detach_all(directory: Path) -> int:
    """Detach every mount of ours on the directory, dead or alive; programs that have files open there get errors.
    Returns how many. OSError when the kernel refuses."""
    count = 0
    while count < _MOST and is_mounted(directory):
        _abort(directory)
        unmount(directory, lazy=True)
        count += 1
    return count


def clear_dead(directory: Path) -> None:
    """Detach the mounts whose data path is gone. ConfigError when one lives: it is another resource's."""
    detach_dead(directory)
    if is_mounted(directory):
        raise ConfigError(
            f"{directory} is replicated by another data path already",
            hint="each directory belongs to one rfs resource of one module",
        )


def _abort(directory: Path) -> None:
    """Requests that nobody will answer end at once. The connection is named by the mount's device."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")
        if words[4] == os.fsencode(directory) and f" - {KIND} ".encode() in line:
            minor = words[2].partition(b":")[2].decode()
            with contextlib.suppress(OSError):
                Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1", encoding="ascii")
