"""What the file system tells of each modification: the interface between it and the replication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from safekit_resource_rfs.changes import Change, Sync, SyncDirectory
from safekit_resource_rfs.marks import Place


class Heard(Protocol):
    """An answer; 0, or the errno."""

    def __call__(self, error: int = 0) -> None: ...


class Recorder(Protocol):
    """All are called on the thread of the event loop."""

    def touch(self, *places: Place) -> Awaitable[None] | None:
        """Before a modification. None: go on at once. Else the request is done again when the awaitable is done; its
        OSError is the request's answer. OSError at once when modifications are refused now."""

    def cover(self, *places: Place) -> None:
        """These were just made in a directory that is marked: `Place(handle)` of a new directory, or all of a new file.
        No mark of their own is asked for until the recorder has forgotten this."""

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        """After the local execution, in order. True: the application may be answered now. False: `answer` is called
        when it may, or never when the data path ends."""

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        """Record it; `then` is called when the peer's disk has it, at once where that is not asked, and never when the
        data path ends; with an errno when nothing can be promised any more."""

    def disk_failed(self, error: int) -> None:
        """The own disk refused to sync."""
