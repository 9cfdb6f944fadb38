"""The attributes of one entry: given there as they are here, times last."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from safekit_resource_rfs.changes import Entry, RemoveXattr, SetAttributes, SetXattr
from safekit_resource_rfs.compare import join
from safekit_resource_rfs.desk import Desk
from safekit_resource_rfs.effects import EntriesHere, XattrsHere
from safekit_resource_rfs.messages import ListXattrs
from safekit_resource_rfs.worktree import Node

PERMISSIONS: Final = 0o7777
_Then = Callable[[Entry], None]


def settle(desk: Desk, node: Node, name: bytes, there: bytes, then: Callable[[bool], None]) -> None:
    """`there`: the digest of its extended attributes. `then` is told whether the entry was found."""
    _Settlement(desk, node, name, there, then).begin()


class _Settlement:
    def __init__(self, desk: Desk, node: Node, name: bytes, there: bytes, then: Callable[[bool], None]) -> None:
        self._desk = desk
        self._node = node
        self._name = name
        self._there = there
        self._then = then
        self._names: Sequence[bytes] = ()

    @property
    def _path(self) -> bytes:
        return join(self._node.path, self._name)

    def begin(self) -> None:
        self._look(self._compare)

    def _look(self, then: _Then) -> None:
        """At the entry as it is at this position of the stream."""

        def looked(errno: int, entries: Sequence[Entry]) -> None:
            here = next((entry for entry in entries if entry.name == self._name), None)
            if errno or here is None:
                self._then(False)
            else:
                then(here)

        path, names = self._node.path, (self._name,) if self._name else ()
        self._desk.ask_here(lambda number: EntriesHere(number, path, names), looked)

    def _compare(self, here: Entry) -> None:
        path = self._path
        if here.xattrs == self._there:
            self._set(here)
        elif self._there:
            self._desk.ask_there(lambda number: ListXattrs(number, path), self._listed)
        else:
            self._listed(0, ())

    def _listed(self, errno: int, names: Sequence[bytes]) -> None:
        """An entry that is not there any more is missed by what follows."""
        self._names = () if errno else names
        path = self._path
        self._desk.ask_here(lambda number: XattrsHere(number, path), self._read)

    def _read(self, errno: int, values: Mapping[bytes, bytes]) -> None:
        if errno:
            self._then(False)
            return
        for name in self._names:
            if name not in values:
                self._desk.stream.put(RemoveXattr(self._path, name))
        for name, value in values.items():
            self._desk.stream.put(SetXattr(self._path, name, value))
        self._look(self._set)

    def _set(self, here: Entry) -> None:
        mode = None if stat.S_ISLNK(here.mode) else here.mode & PERMISSIONS
        self._desk.stream.put(SetAttributes(self._path, mode, here.uid, here.gid, None, here.mtime_ns))
        self._then(True)
