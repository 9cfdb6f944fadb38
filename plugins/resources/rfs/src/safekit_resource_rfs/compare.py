"""What the protocol needs of a directory on its own side, as an interface; and how marks are found in it."""

from __future__ import annotations

import errno
import stat
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from safekit_resource_rfs.changes import Change, Entry
from safekit_resource_rfs.extents import Extent
from safekit_resource_rfs.marks import SLACK_NS, MarkedDirectory
from safekit_resource_rfs.messages import MAX_ENTRIES, Marked

ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Of a path that is nowhere; ELOOP: a symbolic link is there, which is not followed."""
UNREADABLE: Final = b"?"
"""For a digest of extended attributes: they cannot be read, and so are equal to none."""
MAX_ANSWER_BYTES: Final = 512 << 10
ENTRY_BYTES: Final = 120
"""Of an entry in a frame, besides its name and target."""
MAX_FILES_A_MARK: Final = 60
"""Of one Marked; a directory with more gets several."""


class Local(Protocol):
    """The own directory. Everything raises OSError; no symbolic link is followed."""

    def entry(self, path: bytes) -> Entry:
        """Of this one path; its name is the last component, empty for the root."""

    def entry_names(self, path: bytes) -> Sequence[bytes]:
        """What readdir tells, without what is hidden."""

    def names(self, path: bytes, inodes: Collection[int]) -> Mapping[int, Sequence[bytes]]:
        """By the numbers that readdir tells, without looking at each file."""

    def entries(self, path: bytes, names: Iterable[bytes]) -> Sequence[Entry]:
        """Those in this directory that exist, in their order."""

    def checksums(
        self, path: bytes, offset: int, length: int, *, from_disk: bool = False, with_holes: bool = False
    ) -> tuple[bytes, ...]:
        """Of each block of BLOCK_BYTES; empty where nothing is."""

    def read(self, path: bytes, offset: int, length: int) -> Sequence[Extent]:
        """What is data, and what is reserved, without the holes."""

    def xattrs(self, path: bytes) -> Mapping[bytes, bytes]: ...

    def handle(self, path: bytes) -> bytes:
        """Of a directory."""

    def path(self, handle: bytes) -> bytes | None:
        """Of a directory; None: it is nowhere any more."""


class Replicating(Local, Protocol):
    """A secondary's."""

    def apply(self, change: Change, *, keep_aside: bool = False) -> None: ...

    def forget_slots(self) -> None: ...


def resolve(directories: Iterable[MarkedDirectory], local: Local) -> Iterator[Marked]:
    """Where the marked directories are now, and what their files are called. What is nowhere any more is left out: the
    directory that it was removed from is marked."""
    for directory in directories:
        try:
            path = local.path(directory.handle)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            yield Marked(b"", 0, True, True, ())  # somewhere too deep for the kernel to say: all is compared
            continue
        if path is None:
            continue
        files = tuple(_files(directory, path, local))
        for start in range(0, max(1, len(files)), MAX_FILES_A_MARK):
            some = files[start : start + MAX_FILES_A_MARK]
            since_ns = directory.since_ns - SLACK_NS
            yield Marked(path, since_ns, directory.entries and not start, directory.deep and not start, some)


def _files(directory: MarkedDirectory, path: bytes, local: Local) -> Iterator[tuple[bytes, tuple[int, ...] | None]]:
    if not directory.files:
        return
    try:
        names = local.names(path, directory.files.keys())
    except OSError as error:
        if error.errno in ABSENT:
            return
        raise
    for inode, found in names.items():
        zones = directory.files[inode]
        for name in found:
            yield name, None if zones is None else tuple(sorted(zones))


class Pages:
    """Answers to Lists. The names of the directory that was asked for last are kept, so that its further pages do not
    read them again: what came later, came through the stream."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._path: bytes | None = None
        self._names: list[bytes] = []

    def list(self, path: bytes, after: bytes, names: Sequence[bytes]) -> tuple[tuple[Entry, ...], bool]:
        """The entries, and whether they are the last: of those that were asked for too, in their order. The directory's
        own comes first, without a name."""
        own = replace(self._local.entry(path), name=b"")
        if not stat.S_ISDIR(own.mode):
            raise OSError(errno.ENOTDIR, "not a directory")
        if names:
            found = tuple(self._local.entries(path, names))
            kept = _within_budget(found)
            return (own, *kept), len(kept) == len(found)
        if not after or path != self._path:
            self._path, self._names = path, sorted(self._local.entry_names(path))
        start = bisect_right(self._names, after) if after else 0
        asked = self._names[start : start + MAX_ENTRIES - 1]
        entries = tuple(self._local.entries(path, asked))
        last = start + len(asked) >= len(self._names)
        while not last and not entries:
            return self.list(path, asked[-1], ())
        kept = _within_budget(entries)
        return (own, *kept), last and len(kept) == len(entries)


def _within_budget(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """So many that the answer is a frame."""
    size = 0
    for count, entry in enumerate(entries):
        size += ENTRY_BYTES + len(entry.name) + len(entry.target)
        if size > MAX_ANSWER_BYTES:
            return entries[:count]
    return entries


def join(path: bytes, name: bytes) -> bytes:
    """An empty name is the directory itself."""
    return path + b"/" + name if path and name else path or name


def split(path: bytes) -> tuple[bytes, bytes]:
    """The directory and the name in it."""
    directory, _, name = path.rpartition(b"/")
    return directory, name
