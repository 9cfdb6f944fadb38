"""What can happen to a replicated directory: the vocabulary between the file system, the stream and the replica.

Paths are bytes, relative to the replicated directory, without a leading slash; the directory itself is empty. A slot is
a small number that the primary gives to a file while it is written: the replica holds the file open, so that the file
is meant and not its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_PATH_BYTES: Final = (1 << 15) - 1
"""More than a system call takes at once, as the rename of a directory makes the paths of what is in it longer."""
MAX_NAME_BYTES: Final = 255
MAX_DATA_BYTES: Final = 1 << 20
"""Of one write."""
MAX_XATTR_BYTES: Final = 1 << 16
SLOTS: Final = 1024
RESYNC_SLOTS: Final = 64
"""Numbers from SLOTS on, for files that a resync copies."""


@dataclass(frozen=True, slots=True)
class Bind:
    """The slot means this existing regular file from now on."""

    slot: int
    path: bytes


@dataclass(frozen=True, slots=True)
class Unbind:
    slot: int


@dataclass(frozen=True, slots=True)
class Write:
    slot: int
    offset: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Resize:
    slot: int
    size: int


@dataclass(frozen=True, slots=True)
class Allocate:
    """`mode` as of fallocate(2): 0, keep size, punch hole, collapse, zero, insert."""

    slot: int
    mode: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Sync:
    """The file is on the replica's disk when this is answered."""

    slot: int
    data_only: bool


@dataclass(frozen=True, slots=True)
class SyncDirectory:
    path: bytes


@dataclass(frozen=True, slots=True)
class MakeFile:
    """Create a regular file, which must not exist, and bind the slot to it."""

    path: bytes
    slot: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    path: bytes
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeNode:
    """A fifo, a socket or a device; `mode` with its type."""

    path: bytes
    mode: int
    device: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeSymlink:
    path: bytes
    target: bytes
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeLink:
    """A further name of an existing file."""

    path: bytes
    existing: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    path: bytes
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Rename:
    """`flags` as of renameat2(2): 0, no replace, exchange."""

    old: bytes
    new: bytes
    flags: int


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """None: as it is. Times are nanoseconds since 1970. A symbolic link itself is meant, never its target."""

    path: bytes
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SetXattr:
    path: bytes
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class RemoveXattr:
    path: bytes
    name: bytes


Change: TypeAlias = (
    Bind
    | Unbind
    | Write
    | Resize
    | Allocate
    | Sync
    | SyncDirectory
    | MakeFile
    | MakeDirectory
    | MakeNode
    | MakeSymlink
    | MakeLink
    | Remove
    | Rename
    | SetAttributes
    | SetXattr
    | RemoveXattr
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name of a directory is on the side that listed it."""

    name: bytes
    mode: int
    """With the type."""
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    target: bytes
    """Of a symbolic link."""
    xattrs: bytes
    """Digest of all extended attributes that are replicated; empty: there are none."""
    links: int
    inode: int
    """Entries with the same inode are names of one file."""
    blocks: int
    """Allocated, of 512 bytes."""
    born_ns: int = 0
    """Time of birth (stx_btime), on the clock of the side that listed it; 0: the file system does not know, and the
    time of the last change of status stands for it."""
