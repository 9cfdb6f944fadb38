"""Which parts of a file are reserved, and were never written: a hole to whoever reads, space to the file system."""

from __future__ import annotations

import fcntl
import struct
from typing import Final

_FIEMAP: Final = 0xC020660B
_HEAD: Final = struct.Struct("=QQIIII")
"""Start, length, flags, extents that are told, room for them, nothing."""
_EXTENT: Final = struct.Struct("=QQQ16xI12x")
"""Where it is in the file and on the disk, its length, flags."""
_UNWRITTEN: Final = 0x800
_LAST: Final = 0x1
_ROOM: Final = 64


def is_reserved(fd: int, start: int, end: int) -> bool:
    """Whether all of this range is. False on a file system that does not say."""
    position = start
    while position < end:
        try:
            found = _extents(fd, position, end)
        except OSError:
            return False
        if not found:
            return False
        for logical, length, flags in found:
            if logical > position or not flags & _UNWRITTEN:
                return False
            position = max(position, logical + length)
            if flags & _LAST and position < end:
                return False
    return True


def _extents(fd: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """In their order, as many as there is room for."""
    room = bytearray(_HEAD.size + _ROOM * _EXTENT.size)
    _HEAD.pack_into(room, 0, start, end - start, 0, 0, _ROOM, 0)
    fcntl.ioctl(fd, _FIEMAP, room)
    count = _HEAD.unpack_from(room)[3]
    told = (_EXTENT.unpack_from(room, _HEAD.size + number * _EXTENT.size) for number in range(count))
    return [(logical, length, flags) for logical, _, length, flags in told]
