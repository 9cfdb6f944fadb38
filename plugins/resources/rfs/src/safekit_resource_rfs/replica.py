"""Apply changes to a real directory: the secondary's side."""

from __future__ import annotations

from collections.abc import Callable

from safekit_resource_rfs.changes import Change, Entry, Sync, SyncDirectory


class Aside:
    """Keeps the version that a path had, below `.safekit-rfs/aside/<label>/`, before it is changed for the first time."""

    def __init__(self, root_fd: int, label: str) -> None: ...


class Replica:
    """All methods raise OSError. Not for several threads, except what `sync` returns."""

    def __init__(self, root_fd: int, aside: Aside | None = None) -> None: ...

    def apply(self, change: Change, *, keep_aside: bool = False) -> None:
        """Not for Sync and SyncDirectory."""

    def sync(self, change: Sync | SyncDirectory) -> Callable[[], None]:
        """To be called at the change's position; what it returns blocks until the disk has it, and is for the pool."""

    def list_directory(self, path: bytes) -> list[Entry]: ...

    def checksum(self, path: bytes, offset: int, length: int) -> bytes:
        """BLAKE2b of 16 bytes; shorter at the end of the file."""

    def handle(self, path: bytes) -> bytes: ...

    def path(self, handle: bytes) -> bytes | None:
        """Where the directory or file is now; None: nowhere beneath the root."""

    def forget_slots(self) -> None:
        """Close all files: the connection is new."""

    def close(self) -> None: ...
