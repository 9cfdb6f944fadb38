"""What a real directory has, for the comparison of both sides."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from safekit_resource_rfs import beneath, compare, local, syscalls
from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.compare import UNREADABLE
from safekit_resource_rfs.exclusion import NOTHING, Exclusion
from safekit_resource_rfs.extents import Extent, Span, holes, is_reserved, reserved, seek
from safekit_resource_rfs.messages import BLOCK_BYTES

_READ_BYTES: Final = 1 << 20
_ZEROS: Final = bytes(_READ_BYTES)
_SPAN: Final = struct.Struct("<II")
"""Of a hole in a block."""


class Survey:
    """From any thread. All methods raise OSError; no symbolic link is followed, and what is reserved is not shown."""

    def __init__(self, root_fd: int, exclusion: Exclusion = NOTHING) -> None:
        self._root_fd = root_fd
        self._exclusion = exclusion

    def entry_names(self, path: bytes) -> list[bytes]:
        """In no order; without what is excluded."""
        fd = self._open_directory(path)
        try:
            with os.scandir(fd) as entries:
                names = [os.fsencode(entry.name) for entry in entries]
        finally:
            os.close(fd)
        return [name for name in names if not self._is_hidden(path, name)]

    def _is_hidden(self, path: bytes, name: bytes) -> bool:
        return (not path and name == local.RESERVED) or self._exclusion.holds(path + b"/" + name if path else name)

    def entry(self, path: bytes) -> Entry:
        """Of this one path; its name is the last component, empty for the root."""
        directory, _, name = path.rpartition(b"/")
        found = self._described(directory, (name,))
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found[0]

    def entries(self, path: bytes, names: Iterable[bytes]) -> list[Entry]:
        """Those of this directory that exist, in their order."""
        return self._described(path, names)

    def _described(self, path: bytes, names: Iterable[bytes]) -> list[Entry]:
        fd = self._open_directory(path)
        try:
            return [found for name in names if (found := self._describe(fd, path, name)) is not None]
        finally:
            os.close(fd)

    @staticmethod
    def _describe(fd: int, path: bytes, name: bytes) -> Entry | None:
        beneath.components(compare.join(path, name))
        return describe(fd, name)

    def names(self, path: bytes, inodes: Collection[int]) -> dict[int, list[bytes]]:
        """Of these files in the directory, without looking at each."""
        fd = self._open_directory(path)
        found: dict[int, list[bytes]] = {}
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if (inode := entry.inode()) in inodes:
                        found.setdefault(inode, []).append(os.fsencode(entry.name))
        finally:
            os.close(fd)
        return found

    def checksums(
        self, path: bytes, offset: int, length: int, *, from_disk: bool = False, with_holes: bool = False
    ) -> tuple[bytes, ...]:
        """Of each block: BLAKE2b of 16 bytes, over less at the end of the file; empty behind it. `from_disk`: of what
        the disk has, but for what is still on its way there; of that, a later sync tells whether it arrived.
        `with_holes`: of where its holes are as well; without, they are zeros."""
        fd = beneath.open_regular(self._root_fd, path, os.O_RDONLY | os.O_NOATIME)
        try:
            if from_disk:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(fd).st_size
            starts = range(offset, offset + length, BLOCK_BYTES)
            ends = (min(start + BLOCK_BYTES, size) for start in starts)
            digest = _digest_with_holes if with_holes else _digest
            return tuple(digest(fd, *part) if part[0] < size else b"" for part in zip(starts, ends, strict=True))
        finally:
            os.close(fd)

    def read(self, path: bytes, offset: int, length: int) -> list[Extent]:
        """What is data there, and what is reserved; not the holes."""
        fd = beneath.open_regular(self._root_fd, path, os.O_RDONLY | os.O_NOATIME)
        found: list[Extent] = []
        try:
            end = min(offset + length, os.fstat(fd).st_size)
            while offset < end:
                start = seek(fd, offset, os.SEEK_DATA, end)
                found.extend(Extent(*span, b"") for span in reserved(fd, offset, start))
                offset = seek(fd, start, os.SEEK_HOLE, end)
                found.extend(_without_unwritten(fd, _read_range(fd, start, offset)))
        finally:
            os.close(fd)
        return found

    def xattrs(self, path: bytes) -> dict[bytes, bytes]:
        """All that are replicated."""
        beneath.components(path)
        directory, _, name = path.rpartition(b"/")
        fd = self._open_directory(directory)
        try:
            return local.replicated_xattrs(fd, name)
        finally:
            os.close(fd)

    def handle(self, path: bytes) -> bytes:
        return beneath.handle_of(self._root_fd, path)

    def path(self, handle: bytes) -> bytes | None:
        """Where the directory is now; None: nowhere beneath the root."""
        return beneath.path_of(self._root_fd, handle)

    def _open_directory(self, path: bytes) -> int:
        beneath.components(path)
        return syscalls.open_beneath(self._root_fd, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)


def describe(directory_fd: int, name: bytes) -> Entry | None:
    """None: it is gone."""
    try:
        found = local.status(directory_fd, name)
        target = os.readlink(name, dir_fd=directory_fd) if stat.S_ISLNK(found.st_mode) else b""
        born_ns = syscalls.birth_ns(directory_fd, name)
        xattrs = _digest_xattrs(directory_fd, name)
    except FileNotFoundError:
        return None
    return Entry(
        name=name,
        mode=found.st_mode,
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        device=found.st_rdev,
        target=target,
        xattrs=xattrs,
        links=found.st_nlink,
        inode=found.st_ino,
        blocks=found.st_blocks,
        born_ns=born_ns,
    )


def _digest(fd: int, offset: int, end: int) -> bytes:
    """What was never written is zeros, and is not read."""
    if seek(fd, offset, os.SEEK_DATA, end) >= end:
        return _digest_of_zeros(end - offset)
    digest = blake2b(digest_size=16)
    while offset < end and (data := os.pread(fd, end - offset, offset)):
        digest.update(data)
        offset += len(data)
    return digest.digest()


def _digest_with_holes(fd: int, offset: int, end: int) -> bytes:
    return _with_holes(_digest(fd, offset, end), [(at - offset, to - offset) for at, to in holes(fd, offset, end)])


def _with_holes(digest: bytes, spans: list[Span]) -> bytes:
    """As it is where there are none."""
    told = b"".join(_SPAN.pack(*span) for span in spans)
    return blake2b(digest + told, digest_size=16).digest() if spans else digest


@lru_cache(maxsize=64)
def _digest_of_zeros(length: int) -> bytes:
    return blake2b(bytes(length), digest_size=16).digest()


def _digest_xattrs(directory_fd: int, name: bytes) -> bytes:
    try:
        return local.digest_xattrs(directory_fd, name)
    except FileNotFoundError:
        raise
    except OSError:
        return UNREADABLE


def _without_unwritten(fd: int, read: Iterable[tuple[int, bytes]]) -> Iterator[Extent]:
    """What is reserved and was read is in the cache, and looks like data. Only zeros are left out: what is not on the
    disk yet may be anything."""
    for start, data in read:
        end = start + len(data)
        yield Extent(start, end, b"" if data == _ZEROS[: len(data)] and is_reserved(fd, start, end) else data)


def _read_range(fd: int, start: int, end: int) -> list[tuple[int, bytes]]:
    found = []
    while start < end and (data := os.pread(fd, min(_READ_BYTES, end - start), start)):
        found.append((start, data))
        start += len(data)
    return found
