"""What the two data paths tell each other. Sizes and bounds: wire.py; meaning: docs/reference/rfs-protocol.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, TypeAlias

from safekit_resource_rfs.changes import Change, Entry
from safekit_resource_rfs.generations import Durable, Generation

VERSION: Final = 2
MAX_ENTRIES: Final = 512
"""Of one answer to a List."""
MAX_NAMES: Final = 256
"""That one List asks for."""
BLOCK_BYTES: Final = 256 << 10
"""What one digest of a Checksum is of."""
MAX_BLOCKS: Final = 16


@unique
class Resume(Enum):
    """How a connection goes on."""

    STREAM = "stream"
    """After the last change that the secondary has applied; it lacks nothing else."""
    MARKS = "marks"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class PrimaryHello:
    version: int
    stream: str
    """Of the primary's process: numbers of changes mean something within it."""
    durable: Durable


@dataclass(frozen=True, slots=True)
class SecondaryHello:
    version: int
    session: str
    """Of the secondary's process: what it has in memory."""
    stream: str
    """That it last followed without missing anything; empty: none."""
    applied: int
    """The last number of it."""
    durable: Durable


@dataclass(frozen=True, slots=True)
class Begin:
    resume: Resume
    next_seq: int
    aside: bool
    is_awaited: bool = True
    """An application waits for each Done. Else one may wait for a Synced that follows."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A directory that is marked, as its side finds it now."""

    path: bytes
    since_ns: int
    """What was born later is compared completely; on the clock of its side."""
    entries: bool = False
    deep: bool = False
    files: tuple[tuple[bytes, tuple[int, ...] | None], ...] = ()
    """Names and their zones; None: all of the file."""


@dataclass(frozen=True, slots=True)
class MarksPage:
    directories: tuple[Marked, ...]
    last: bool
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Numbered:
    """A change of the stream. The numbers have no gaps."""

    seq: int
    change: Change
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """All changes up to this one are in the secondary's page cache, or reported as missed."""

    seq: int


@dataclass(frozen=True, slots=True)
class Synced:
    """The change, a Sync, is on the secondary's disk."""

    seq: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Could not be applied, by a secondary that is not paired."""

    seq: int
    errno: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Of a paired secondary: it is out of date, durably, and the connection ends."""

    seq: int
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class List:
    """Entries with these names, or, without names, the first of those after `after`, in the order of bytes. The entry
    with an empty name is the directory itself, and always among them."""

    id: int
    path: bytes
    after: bytes = b""
    names: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """`errno`: 0, or why there is none: ENOENT, ENOTDIR."""

    id: int
    errno: int
    entries: tuple[Entry, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Checksum:
    """Of each block of BLOCK_BYTES from the offset on."""

    id: int
    path: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Checksummed:
    """Digests are empty behind the end of the file."""

    id: int
    errno: int
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ListXattrs:
    id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class XattrsListed:
    id: int
    errno: int
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    number: int


@dataclass(frozen=True, slots=True)
class Stable:
    """Everything before the checkpoint is on the secondary's disk."""

    number: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """Both disks have everything before the checkpoint: marks may be cleared."""

    number: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Everything is there, if the secondary has missed no more changes than the primary knows of."""

    generation: Generation
    misses: int
    cleared: int
    """The primary's: its marks are complete since this checkpoint."""


@dataclass(frozen=True, slots=True)
class Paired:
    """`is_paired`: everything is on the disk, and that it is this generation too. Else it goes on as before."""

    is_paired: bool


@dataclass(frozen=True, slots=True)
class Alive:
    pass


FromPrimary: TypeAlias = (
    PrimaryHello | Begin | Numbered | List | Checksum | ListXattrs | Checkpoint | Cleared | Pair | Alive
)
FromSecondary: TypeAlias = (
    SecondaryHello
    | MarksPage
    | Done
    | Synced
    | Missed
    | Failed
    | Listed
    | Checksummed
    | XattrsListed
    | Stable
    | Paired
    | Alive
)
Message: TypeAlias = FromPrimary | FromSecondary
