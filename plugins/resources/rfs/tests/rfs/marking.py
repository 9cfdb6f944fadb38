"""Checks that what a change modifies was touched before it in the same request."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from safekit_resource_rfs.beneath import handle_of
from safekit_resource_rfs.changes import (
    Allocate,
    Bind,
    Change,
    MakeFile,
    MakeLink,
    Remove,
    RemoveXattr,
    Rename,
    Resize,
    SetAttributes,
    SetXattr,
    Unbind,
    Write,
)
from safekit_resource_rfs.exclusion import NOTHING
from safekit_resource_rfs.marks import ATTRIBUTES, GONE, LOST, WHOLE, ZONE_BYTES, Place
from safekit_resource_rfs.survey import Survey
from safekit_resource_rfs.syscalls import RENAME_EXCHANGE


class Marking:
    def __init__(self, root_fd: int, replica_fd: int) -> None:
        self._root_fd = root_fd
        self._replica_fd = replica_fd
        """What was there before the change that is checked."""
        self._survey = Survey(root_fd, NOTHING)
        self._touched: set[Place] = set()
        self._going: set[tuple[bytes, int]] = set()
        """Paths, and how they were marked when they still were there: as a directory's own handle (0), GONE or LOST."""
        self._covered: set[Place] = set()
        self._inodes: dict[int, int] = {}
        """By slot."""

    def touch(self, *places: Place) -> None:
        self._touched.update(places)
        for place in places:
            if place.zone in (GONE, LOST) or place == Place(place.directory):
                self._going.update(self._paths_that_go(place))

    def _paths_that_go(self, place: Place) -> Iterator[tuple[bytes, int]]:
        directory = self._survey.path(place.directory)
        if directory is None:
            return
        if not place.inode:
            yield directory, 0
            return
        for name in self._survey.names(directory, {place.inode}).get(place.inode, ()):
            path = directory + b"/" + name if directory else name
            links = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False).st_nlink
            if place.zone == (LOST if links > 1 else GONE):
                yield path, place.zone

    def cover(self, *places: Place) -> None:
        self._covered.update(places)

    def check(self, change: Change, *, is_last: bool) -> str | None:
        """What is missing. The request's touches are forgotten with its last change."""
        if isinstance(change, (Bind, MakeFile)):
            self._inodes[change.slot] = os.stat(change.path, dir_fd=self._root_fd, follow_symlinks=False).st_ino
        known = self._touched | self._covered
        missing = [str(options) for options in self._required(change) if not known & options]
        gone = self._gone(change)
        if gone is not None and not self._going & gone:
            missing.append(str(gone))
        if is_last:
            self._touched.clear()
            self._going.clear()
        return f"not marked before {str(change)[:100]}: {missing}" if missing else None

    def _required(self, change: Change) -> Iterator[set[Place]]:
        """Of each set one place."""
        if isinstance(change, (Write, Resize, Allocate)):
            yield from self._required_of_data(change)
        elif isinstance(change, Rename):
            yield {self._parent(change.old)}
            yield {self._parent(change.new)}
            yield from self._required_of_name(change.new, change.old)
            if change.flags & RENAME_EXCHANGE:
                yield from self._required_of_name(change.old, change.new)
        elif isinstance(change, (SetAttributes, SetXattr, RemoveXattr)):
            status = os.stat(change.path or b".", dir_fd=self._root_fd, follow_symlinks=False)
            parent = self._parent(change.path)
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                yield {parent, Place(parent.directory, status.st_ino, ATTRIBUTES)}
            else:
                yield {Place(parent.directory, status.st_ino, WHOLE)}
        elif not isinstance(change, (Bind, Unbind)):
            yield {self._parent(getattr(change, "path", b""))}
            if isinstance(change, MakeLink):
                yield from self._required_of_name(change.path, change.existing)

    def _required_of_data(self, change: Write | Resize | Allocate) -> Iterator[set[Place]]:
        """In whichever directory the file was called."""
        inode = self._inodes[change.slot]
        places = {place for place in self._touched | self._covered if place.inode == inode}
        length = len(change.data) if isinstance(change, Write) else getattr(change, "length", 0)
        offset = getattr(change, "offset", -1)
        zones = range(offset // ZONE_BYTES, (offset + length - 1) // ZONE_BYTES + 1) if offset >= 0 else [WHOLE]
        for zone in zones:
            yield {place for place in places if place.zone in (zone, WHOLE)}

    def _required_of_name(self, *paths: bytes) -> Iterator[set[Place]]:
        """The first is there; it is marked in the directories of all."""
        status = os.stat(paths[0], dir_fd=self._root_fd, follow_symlinks=False)
        own = handle_of(self._root_fd, paths[0])
        for path in paths:
            yield {Place(self._parent(path).directory, status.st_ino, WHOLE), Place(own, 0, WHOLE)}

    def _gone(self, change: Change) -> set[tuple[bytes, int]] | None:
        """Of these one is required, if a name goes."""
        if isinstance(change, Remove):
            path = change.path
        elif isinstance(change, Rename) and not change.flags:
            path = change.new
        else:
            return None
        try:
            mode = os.stat(path, dir_fd=self._replica_fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return {(path, 0)} if stat.S_ISDIR(mode) else {(path, GONE), (path, LOST)}

    def _parent(self, path: bytes) -> Place:
        return Place(handle_of(self._root_fd, path.rpartition(b"/")[0]))
