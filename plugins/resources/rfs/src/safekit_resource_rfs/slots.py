"""Which paths the primary's slots mean, and which slots a resync may use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from safekit_resource_rfs.changes import (
    MAX_PATH_BYTES,
    RESYNC_SLOTS,
    SLOTS,
    Bind,
    Change,
    MakeFile,
    Remove,
    Rename,
    Unbind,
)

_EXCHANGE = 2


class LiveSlots:
    """Of the file system. A path is lost when its name is removed while the file has others."""

    def __init__(self) -> None:
        self._paths: dict[int, bytes | None] = {}

    def observe(self, change: Change) -> None:
        if isinstance(change, Bind | MakeFile):
            self._paths[change.slot] = change.path
        elif isinstance(change, Unbind):
            self._paths.pop(change.slot, None)
        elif isinstance(change, Remove):
            self._lose(change.path)
        elif isinstance(change, Rename):
            self._rename(change)

    def path(self, slot: int) -> bytes | None:
        return self._paths.get(slot)

    def bound_to(self, path: bytes) -> tuple[int, ...]:
        return tuple(slot for slot, bound in self._paths.items() if bound == path)

    def bound_at(self, path: bytes) -> tuple[int, ...]:
        """To it, or beneath it."""
        beneath = path + b"/"
        return tuple(
            slot
            for slot, bound in self._paths.items()
            if bound is not None and (bound == path or bound.startswith(beneath))
        )

    def binds(self) -> Iterator[Bind]:
        """For a secondary that knows of none. Where a path became too long with a rename, a comparison tells."""
        return (
            Bind(slot, path) for slot, path in self._paths.items() if path is not None and len(path) <= MAX_PATH_BYTES
        )

    def _lose(self, path: bytes) -> None:
        for slot, bound in self._paths.items():
            if bound == path:
                self._paths[slot] = None

    def _rename(self, change: Rename) -> None:
        exchange = bool(change.flags & _EXCHANGE)
        if not exchange:
            self._lose(change.new)
        for slot, path in self._paths.items():
            if path is not None:
                self._paths[slot] = moved(path, change)


def moved(path: bytes, change: Rename) -> bytes:
    """Where the path is after the rename."""
    pairs = [(change.old, change.new)]
    if change.flags & _EXCHANGE:
        pairs.append((change.new, change.old))
    for old, new in pairs:
        if path == old or path.startswith(old + b"/"):
            return new + path[len(old) :]
    return path


class ResyncSlots:
    """One is free again when the secondary has done with all that was said of it."""

    def __init__(self) -> None:
        self._free = list(range(SLOTS + RESYNC_SLOTS - 1, SLOTS - 1, -1))
        self._given: deque[tuple[int, int]] = deque()
        self.paths: dict[int, bytes] = {}
        """What each was last taken for."""

    def take(self) -> int | None:
        return self._free.pop() if self._free else None

    def give_after(self, seq: int, slot: int) -> None:
        self._given.append((seq, slot))

    def done(self, seq: int) -> None:
        while self._given and self._given[0][0] <= seq:
            self._free.append(self._given.popleft()[1])
