"""The attributes of one entry: given there as they are here. The owner comes first, as a new owner takes a file's
capability away, as new data do; times come last."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from safekit_resource_rfs.changes import Entry, RemoveXattr, SetAttributes, SetXattr
from safekit_resource_rfs.compare import ABSENT, UNREADABLE, join
from safekit_resource_rfs.desk import Desk
from safekit_resource_rfs.effects import EntriesHere, XattrsHere
from safekit_resource_rfs.local import CAPABILITY
from safekit_resource_rfs.messages import ListXattrs
from safekit_resource_rfs.worktree import Node

PERMISSIONS: Final = 0o7777
_Then = Callable[[Entry], None]


def settle(desk: Desk, node: Node, name: bytes, there: bytes, then: Callable[[int], None]) -> None:
    """`there`: the digest of its extended attributes. `then` is told 0, or the error for which it was not done."""
    _Settlement(desk, node, name, there, then).begin()


class _Settlement:
    def __init__(self, desk: Desk, node: Node, name: bytes, there: bytes, then: Callable[[int], None]) -> None:
        self._desk = desk
        self._node = node
        self._name = name
        self._there = there
        self._then = then
        self._is_owned = False
        """Its owner is sent."""
        self._is_equal = False
        """Both sides had the same extended attributes."""
        self._names: Sequence[bytes] = ()

    @property
    def _path(self) -> bytes:
        return join(self._node.path, self._name)

    def begin(self) -> None:
        self._look(self._compare)

    def _look(self, then: _Then) -> None:
        """At the entry as it is at this position of the stream."""

        def looked(error: int, entries: Sequence[Entry]) -> None:
            here = next((entry for entry in entries if entry.name == self._name), None)
            if error or here is None:
                self._then(error or errno.ENOENT)
            else:
                then(here)

        path, names = self._node.path, (self._name,) if self._name else ()
        self._desk.ask_here(lambda number: EntriesHere(number, path, names), looked)

    def _compare(self, here: Entry) -> None:
        path = self._path
        self._is_equal = here.xattrs == self._there != UNREADABLE
        if self._is_equal and not here.xattrs:
            self._set(here)
            return
        if not stat.S_ISDIR(here.mode):
            self._desk.stream.put(SetAttributes(path, None, here.uid, here.gid))
            self._is_owned = True
        if self._there and not self._is_equal:
            self._desk.ask_there(lambda number: ListXattrs(number, path), self._listed)
        else:
            self._listed(0, ())

    def _listed(self, error: int, names: Sequence[bytes]) -> None:
        """An entry that is not there any more is missed by what follows."""
        if error not in (0, *ABSENT):
            self._then(error)
            return
        self._names = names
        path = self._path
        self._desk.ask_here(lambda number: XattrsHere(number, path), self._read)

    def _read(self, error: int, values: Mapping[bytes, bytes]) -> None:
        if error:
            self._then(error)
            return
        for name in self._names:
            if name not in values:
                self._desk.stream.put(RemoveXattr(self._path, name))
        for name, value in values.items():
            if name == CAPABILITY or not self._is_equal:
                self._desk.stream.put(SetXattr(self._path, name, value))
        self._look(self._set)

    def _set(self, here: Entry) -> None:
        mode = None if stat.S_ISLNK(here.mode) else here.mode & PERMISSIONS
        uid, gid = (None, None) if self._is_owned else (here.uid, here.gid)
        self._desk.stream.put(SetAttributes(self._path, mode, uid, gid, None, here.mtime_ns))
        self._then(0)
