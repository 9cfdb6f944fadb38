"""The primary's side: signatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from safekit_resource_rfs.changes import Change, Entry, Sync, SyncDirectory
from safekit_resource_rfs.effects import Effect
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks, Place
from safekit_resource_rfs.messages import FromSecondary, Marked


@unique
class Mode(Enum):
    WRITE = "write"
    ORDERED = "ordered"
    WRITEBACK = "writeback"


@unique
class State(Enum):
    IDLE = "idle"
    ALONE = "alone"
    SYNCING = "syncing"
    PAIRED = "paired"
    HOLDING = "holding"


@unique
class Gate(Enum):
    """What `touch` says."""

    GO = "go"
    WAIT = "wait"
    """Ask again after the effect Wake."""
    REFUSED = "refused"
    """EROFS: it is not primary (any more)."""


@dataclass(frozen=True, slots=True)
class Limits:
    window_changes: int = 4096
    window_bytes: int = 64 << 20
    timeout_s: float = 5.0
    """A peer that says nothing for so long is dropped."""
    stall_s: float = 20.0
    """A peer that speaks, but does not do its work for so long, is dropped too."""
    resync_bytes_per_s: float = 0.0
    """0: no limit."""
    checkpoint_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    bytes_done: int
    bytes_total: int
    """Known so far."""
    files_done: int
    files_total: int


class Sender:
    """Methods change it and queue effects; call `drain` after each, on the thread that executes."""

    def __init__(self, durable: Durable, marks: Marks, mode: Mode, stream: str, limits: Limits = Limits()) -> None:
        """`stream`: fresh for each process and each time it becomes primary."""

    @property
    def state(self) -> State: ...

    @property
    def durable(self) -> Durable: ...

    @property
    def progress(self) -> Progress | None:
        """While it syncs."""

    def drain(self) -> Iterator[Effect]: ...

    # the engine
    def promote(self, epoch: int, new_id: str, now_s: float, *, alone: bool) -> None:
        """`alone`: may acknowledge without the other node. Else it holds until the other has everything."""

    def stand_alone(self, epoch: int, new_id: str) -> None: ...

    def pair(self) -> None:
        """The secondary may be made up to date when it has everything."""

    def demote(self) -> None:
        """No more modifications; what is recorded still goes to the secondary, then a checkpoint; then Report("demoted")."""

    # the file system
    def touch(self, places: Iterable[Place], now_ns: int) -> Gate: ...

    def record(self, change: Change, token: Any) -> bool: ...

    def synced(self, change: Sync | SyncDirectory, token: Any) -> None: ...

    def cover(self, *places: Place) -> None:
        """marks.Marks.cover: these were just created in a marked directory."""

    # the connection
    def connected(self, now_s: float) -> None: ...

    def received(self, message: FromSecondary, now_s: float) -> None:
        """PeerError: the connection is to be closed, then `disconnected`."""

    def disconnected(self, now_s: float) -> None: ...

    def tick(self, now_s: float) -> None:
        """Four times in timeout_s or more often."""

    def checkpoint(self) -> None:
        """Now, where it is possible; by itself it does so every checkpoint_s."""

    # answers to effects
    def stored(self, number: int) -> None: ...

    def store_failed(self, text: str) -> None: ...

    def marks_stored(self, number: int) -> None: ...

    def synced_all(self, number: int, errno: int) -> None: ...

    def marks_resolved(self, number: int, directories: Sequence[Marked]) -> None: ...

    def listed(self, id: int, errno: int, entries: Sequence[Entry], last: bool) -> None: ...

    def checksummed(self, id: int, errno: int, digests: Sequence[bytes]) -> None: ...

    def data_read(self, id: int, errno: int, extents: Sequence[tuple[int, bytes]]) -> None: ...

    def xattrs_read(self, id: int, errno: int, values: Mapping[bytes, bytes]) -> None: ...
