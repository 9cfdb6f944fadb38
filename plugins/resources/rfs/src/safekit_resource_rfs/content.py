"""Changes of a file's data that whoever reads it does not notice."""

from __future__ import annotations

import os
from typing import Final

from safekit_resource_rfs import local
from safekit_resource_rfs.changes import Allocate, Resize, Write

_MOST_ZEROS_BYTES: Final = 1 << 20
"""Of a hole that is looked at for data."""


def leaves_content(change: Write | Resize | Allocate, fd: int) -> bool:
    """The size that it has, data that are there, a hole in zeros, more space."""
    if isinstance(change, Resize):
        return change.size == os.fstat(fd).st_size
    if isinstance(change, Write):
        return os.pread(fd, len(change.data), change.offset) == change.data
    if change.mode == local.PUNCH and change.length <= _MOST_ZEROS_BYTES:
        return not os.pread(fd, change.length, change.offset).strip(b"\0")
    return change.mode == local.KEEP_SIZE
