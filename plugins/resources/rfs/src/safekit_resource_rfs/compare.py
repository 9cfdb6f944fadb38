"""What the protocol needs of a directory on its own side, as an interface; and how marks are found in it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from safekit_resource_rfs.changes import Change, Entry, Sync, SyncDirectory
from safekit_resource_rfs.marks import SLACK_NS, MarkedDirectory
from safekit_resource_rfs.messages import BLOCK_BYTES, MAX_ENTRIES, Marked

MAX_FILES_A_MARK: Final = 200
"""Of one Marked; a directory with more gets several."""


class Local(Protocol):
    """The own directory. Everything raises OSError; no symbolic link is followed."""

    def list_directory(self, path: bytes) -> Sequence[Entry]: ...

    def entry(self, path: bytes) -> Entry:
        """Of this one path; its name is the last component, empty for the root."""

    def names(self, path: bytes, inodes: Collection[int]) -> Mapping[int, Sequence[bytes]]:
        """By the numbers that readdir tells, without looking at each file."""

    def checksum(self, path: bytes, offset: int, length: int) -> bytes: ...

    def read(self, path: bytes, offset: int, length: int) -> Sequence[tuple[int, bytes]]:
        """What is data, without the holes."""

    def xattrs(self, path: bytes) -> Mapping[bytes, bytes]: ...

    def handle(self, path: bytes) -> bytes: ...

    def path(self, handle: bytes) -> bytes | None: ...


class Replicating(Local, Protocol):
    """A secondary's."""

    def apply(self, change: Change, *, keep_aside: bool = False) -> None: ...

    def sync(self, change: Sync | SyncDirectory) -> Callable[[], None]: ...

    def forget_slots(self) -> None: ...


def resolve(directories: Iterable[MarkedDirectory], local: Local) -> Iterator[Marked]:
    """Where the marked directories are now, and what their files are called. What is nowhere any more is left out: the
    directory that it was removed from is marked."""
    for directory in directories:
        path = local.path(directory.handle)
        if path is None:
            continue
        files = tuple(_files(directory, path, local))
        for start in range(0, max(1, len(files)), MAX_FILES_A_MARK):
            some = files[start : start + MAX_FILES_A_MARK]
            since_ns = directory.since_ns - SLACK_NS
            yield Marked(path, since_ns, directory.entries and not start, directory.deep and not start, some)


def _files(
    directory: MarkedDirectory, path: bytes, local: Local
) -> Iterator[tuple[bytes, tuple[int, ...] | None]]:
    if not directory.files:
        return
    try:
        names = local.names(path, directory.files.keys())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    for inode, found in names.items():
        zones = directory.files[inode]
        for name in found:
            yield name, None if zones is None else tuple(sorted(zones))


def page(local: Local, path: bytes, after: bytes, names: Sequence[bytes]) -> tuple[tuple[Entry, ...], bool]:
    """The answer to a List, and whether it is the last. The entry of the directory itself comes first, without a name."""
    own = _unnamed(local.entry(path))
    if names:
        found = (_entry_or_none(local, join(path, name)) for name in names)
        return (own, *(entry for entry in found if entry is not None)), True
    rest = sorted((entry for entry in local.list_directory(path) if entry.name > after), key=lambda entry: entry.name)
    return (own, *rest[: MAX_ENTRIES - 1]), len(rest) < MAX_ENTRIES


def digests(local: Local, path: bytes, offset: int, length: int) -> tuple[bytes, ...]:
    """Of each block; empty where nothing is."""
    size = local.entry(path).size
    starts = range(offset, offset + length, BLOCK_BYTES)
    return tuple(local.checksum(path, start, BLOCK_BYTES) if start < size else b"" for start in starts)


def join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def split(path: bytes) -> tuple[bytes, bytes]:
    """The directory and the name in it."""
    directory, _, name = path.rpartition(b"/")
    return directory, name


def _entry_or_none(local: Local, path: bytes) -> Entry | None:
    try:
        return local.entry(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def _unnamed(entry: Entry) -> Entry:
    return replace(entry, name=b"")
