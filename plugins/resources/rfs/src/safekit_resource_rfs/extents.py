"""Where a file has space on the disk: what is a hole, and what is reserved and was never written, which is a hole to
whoever reads, and space to the file system."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

PAGE_BYTES: Final = 4096
"""Smaller holes are none: few file systems make them."""
_FIEMAP: Final = 0xC020660B
_HEAD: Final = struct.Struct("=QQIIII")
"""Start, length, flags, extents that are told, room for them, nothing."""
_EXTENT: Final = struct.Struct("=QQQ16xI12x")
"""Where it is in the file and on the disk, its length, flags."""
_UNWRITTEN: Final = 0x800
_LAST: Final = 0x1
_ROOM: Final = 64
Span = tuple[int, int]
"""First byte, and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Of a file that is read: data, or, without any, what is reserved."""

    start: int
    end: int
    data: bytes


def reserved(fd: int, start: int, end: int) -> list[Span]:
    """What of this range was never written and is reserved. Nothing on a file system that does not say."""
    try:
        return _joined((at, to) for at, to, is_unwritten in _allocated(fd, start, end) if is_unwritten)
    except OSError:
        return []


def is_reserved(fd: int, start: int, end: int) -> bool:
    """Whether all of this range is."""
    return reserved(fd, start, end) == [(start, end)]


def holes(fd: int, start: int, end: int) -> list[Span]:
    """Pages of this range that have no space on the disk. What is reserved has; on a file system that does not tell its
    extents it is a hole."""
    try:
        filled = _joined((at, to) for at, to, _ in _allocated(fd, start, end))
    except OSError:
        filled = _data(fd, start, end)
    found = zip([start, *(to for _, to in filled)], [*(at for at, _ in filled), end], strict=True)
    whole = (
        (-(-at // PAGE_BYTES) * PAGE_BYTES, to if to == end else to // PAGE_BYTES * PAGE_BYTES) for at, to in found
    )
    return [(at, to) for at, to in whole if at < to]


def _joined(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for at, to in spans:
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], to)
        else:
            found.append((at, to))
    return found


def _data(fd: int, start: int, end: int) -> list[Span]:
    found: list[Span] = []
    while (at := seek(fd, start, os.SEEK_DATA, end)) < end:
        start = seek(fd, at, os.SEEK_HOLE, end)
        found.append((at, start))
    return found


def seek(fd: int, offset: int, whence: int, end: int) -> int:
    """Where the next data or hole begins (SEEK_DATA, SEEK_HOLE); at most the end."""
    try:
        return min(os.lseek(fd, offset, whence), end)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        raise


def _allocated(fd: int, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """What has space, in its order, and whether it was never written there. OSError where that is not told."""
    position = start
    while position < end and (found := _extents(fd, position, end)):
        for logical, length, flags in found:
            to = min(logical + length, end)
            if to > position:
                yield max(logical, position), to, bool(flags & _UNWRITTEN)
                position = to
        if found[-1][2] & _LAST:
            return


def _extents(fd: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """In their order, as many as there is room for."""
    room = bytearray(_HEAD.size + _ROOM * _EXTENT.size)
    _HEAD.pack_into(room, 0, start, end - start, 0, 0, _ROOM, 0)
    fcntl.ioctl(fd, _FIEMAP, room)
    count = _HEAD.unpack_from(room)[3]
    told = (_EXTENT.unpack_from(room, _HEAD.size + number * _EXTENT.size) for number in range(count))
    return [(logical, length, flags) for logical, _, length, flags in told]
