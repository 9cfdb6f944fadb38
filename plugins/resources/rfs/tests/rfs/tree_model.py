"""A directory in memory, as it is asked for what is in it."""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.compare import join
from safekit_resource_rfs.extents import Extent
from safekit_resource_rfs.messages import BLOCK_BYTES

ROOT = 1


@dataclass(frozen=True, slots=True)
class Inode:
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    born_ns: int
    size: int = 0
    device: int = 0
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    links: int = 1
    entries: Mapping[bytes, int] = field(default_factory=dict)
    parent: int = 0
    name: bytes = b""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def fail(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])


class Tree:
    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {ROOT: Inode(stat.S_IFDIR | 0o755, 0, 0, 0, 0)}
        self.pages: dict[int, dict[int, bytes]] = {}

    def find(self, path: bytes) -> int:
        number = ROOT
        for name in path.split(b"/") if path else ():
            inode = self.inodes[number]
            if not inode.is_directory:
                raise fail(errno.ENOTDIR)
            if name not in inode.entries:
                raise fail(errno.ENOENT)
            number = inode.entries[name]
        return number

    def content(self, number: int) -> Any:
        """What is kept aside: data, not attributes that changed alone."""
        return (self.inodes[number].size, tuple(sorted(self.pages.get(number, {}).items())))

    def walk(self) -> Iterator[tuple[bytes, int]]:
        stack = [(b"", ROOT)]
        while stack:
            path, number = stack.pop()
            yield path, number
            inode = self.inodes[number]
            if inode.is_directory:
                stack += ((path + b"/" + name if path else name, child) for name, child in inode.entries.items())

    def fingerprint(self, *, times: bool = False) -> Any:
        """Everything that has to be equal on both nodes."""
        first: dict[int, bytes] = {}
        found = []
        for path, number in sorted(self.walk()):
            inode = self.inodes[number]
            same = first.setdefault(number, path)
            pages = tuple(sorted(self.pages.get(number, {}).items())) if inode.is_file else ()
            size = inode.size if inode.is_file else 0
            plain = (path, inode.mode, inode.uid, inode.gid, size, inode.device, inode.target, inode.xattrs)
            found.append((*plain, pages, same, inode.mtime_ns if times else 0))
        return tuple(found)

    def entry(self, path: bytes) -> Entry:
        number = self.find(path)
        inode = self.inodes[number]
        digest = _digest(repr(inode.xattrs).encode()) if inode.xattrs else b""
        name = path.rpartition(b"/")[2]
        return Entry(
            name=name,
            mode=inode.mode,
            uid=inode.uid,
            gid=inode.gid,
            size=inode.size,
            mtime_ns=inode.mtime_ns,
            ctime_ns=inode.mtime_ns,
            device=inode.device,
            target=inode.target,
            xattrs=digest,
            links=inode.links,
            inode=number,
            blocks=0,
            born_ns=inode.born_ns,
        )

    def entry_names(self, path: bytes) -> Sequence[bytes]:
        inode = self.inodes[self.find(path)]
        if not inode.is_directory:
            raise fail(errno.ENOTDIR)
        return tuple(inode.entries)

    def names(self, path: bytes, inodes: Collection[int]) -> Mapping[int, Sequence[bytes]]:
        found: dict[int, list[bytes]] = {}
        for name, number in self.inodes[self.find(path)].entries.items():
            if number in inodes:
                found.setdefault(number, []).append(name)
        return found

    def entries(self, path: bytes, names: Iterable[bytes]) -> Sequence[Entry]:
        there = self.entry_names(path)
        return [self.entry(join(path, name)) for name in names if name in there]

    def checksums(
        self, path: bytes, offset: int, length: int, *, from_disk: bool = False, with_holes: bool = False
    ) -> tuple[bytes, ...]:
        del from_disk, with_holes  # `drop_cached` tells of the one; a page that is not there is a hole
        size = self.entry(path).size
        starts = range(offset, offset + length, BLOCK_BYTES)
        return tuple(self._sum(path, start) if start < size else b"" for start in starts)

    def _sum(self, path: bytes, start: int) -> bytes:
        return _digest(repr(self.read(path, start, BLOCK_BYTES)).encode())

    def read(self, path: bytes, offset: int, length: int) -> Sequence[Extent]:
        number = self.find(path)
        if not self.inodes[number].is_file:
            raise fail(errno.EISDIR)
        pages = self.pages.get(number, {})
        return [Extent(at, at + len(pages[at]), pages[at]) for at in sorted(pages) if offset <= at < offset + length]

    def xattrs(self, path: bytes) -> Mapping[bytes, bytes]:
        return dict(self.inodes[self.find(path)].xattrs)

    def handle(self, path: bytes) -> bytes:
        return self.find(path).to_bytes(8, "big")

    def path(self, handle: bytes) -> bytes | None:
        number = int.from_bytes(handle, "big")
        names: list[bytes] = []
        while number != ROOT:
            inode = self.inodes.get(number)
            if inode is None or self.inodes.get(inode.parent) is None:
                return None
            if self.inodes[inode.parent].entries.get(inode.name) != number:
                return None
            names.append(inode.name)
            number = inode.parent
        return b"/".join(reversed(names))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
