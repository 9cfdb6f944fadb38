"""What Python does not offer of the disk."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def sync_filesystem(fd: int) -> None:
    """All that was written to the file system of this descriptor is on its disk. OSError when the disk refuses."""
    if _LIBC.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
