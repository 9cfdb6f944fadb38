"""Checks that what a change modifies was touched before it in the same request."""

from __future__ import annotations

import os
from collections.abc import Iterator

from safekit_resource_rfs.beneath import handle_of
from safekit_resource_rfs.changes import Allocate, Bind, Change, MakeFile, MakeLink, Rename, Resize, Unbind, Write
from safekit_resource_rfs.marks import WHOLE, ZONE_BYTES, Place


class Marking:
    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._touched: set[Place] = set()
        self._covered: set[Place] = set()
        self._inodes: dict[int, int] = {}
        """By slot."""

    def touch(self, *places: Place) -> None:
        self._touched.update(places)

    def cover(self, *places: Place) -> None:
        self._covered.update(places)

    def check(self, change: Change, *, is_last: bool) -> str | None:
        """What is missing. The request's touches are forgotten with its last change."""
        if isinstance(change, (Bind, MakeFile)):
            self._inodes[change.slot] = os.stat(change.path, dir_fd=self._root_fd, follow_symlinks=False).st_ino
        known = self._touched | self._covered
        missing = [str(options) for options in self._required(change) if not known & options]
        if is_last:
            self._touched.clear()
        return f"not marked before {str(change)[:100]}: {missing}" if missing else None

    def _required(self, change: Change) -> Iterator[set[Place]]:
        """Of each set one place."""
        if isinstance(change, (Write, Resize, Allocate)):
            yield from self._required_of_data(change)
        elif isinstance(change, Rename):
            yield {self._parent(change.old)}
            yield {self._parent(change.new)}
            yield from self._required_of_name(change.new)
        elif not isinstance(change, (Bind, Unbind)):
            yield {self._parent(getattr(change, "path", b""))}
            if isinstance(change, MakeLink):
                yield from self._required_of_name(change.path)

    def _required_of_data(self, change: Write | Resize | Allocate) -> Iterator[set[Place]]:
        """In whichever directory the file was called."""
        inode = self._inodes[change.slot]
        places = {place for place in self._touched | self._covered if place.inode == inode}
        length = len(change.data) if isinstance(change, Write) else getattr(change, "length", 0)
        offset = getattr(change, "offset", -1)
        zones = range(offset // ZONE_BYTES, (offset + length - 1) // ZONE_BYTES + 1) if offset >= 0 else [WHOLE]
        for zone in zones:
            yield {place for place in places if place.zone in (zone, WHOLE)}

    def _required_of_name(self, path: bytes) -> Iterator[set[Place]]:
        status = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
        parent = self._parent(path).directory
        own = handle_of(self._root_fd, path)
        yield {Place(parent, status.st_ino, WHOLE), Place(own, 0, WHOLE)}

    def _parent(self, path: bytes) -> Place:
        return Place(handle_of(self._root_fd, path.rpartition(b"/")[0]))
