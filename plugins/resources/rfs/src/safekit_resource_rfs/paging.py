"""A directory on both sides, page by page."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from safekit_resource_rfs.aligning import same_attributes
from safekit_resource_rfs.changes import MAX_PATH_BYTES, Entry
from safekit_resource_rfs.compare import ABSENT
from safekit_resource_rfs.desk import Desk
from safekit_resource_rfs.effects import EntriesHere, NamesHere
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.messages import MAX_NAMES, List
from safekit_resource_rfs.worktree import Listing, Node, WorkTree


class Work(Protocol):
    """The resync, as a page sees it."""

    desk: Desk
    tree: WorkTree

    @property
    def has_room(self) -> bool: ...

    def pause(self, page: Page) -> None: ...

    def postpone(self, what: Node | bytes | None, error: int) -> None: ...

    def compare(self, node: Node, listing: Listing, name: bytes, here: Entry | None, there: Entry | None) -> None: ...


class Page:
    """A directory, page by page."""

    def __init__(self, work: Work, node: Node) -> None:
        self._work = work
        self._desk = work.desk
        self._node = node
        self._listing = Listing(node)
        node.listing = self._listing
        self._after = b""
        self._names_here: list[bytes] = []
        self._asked = sorted(self._listing.names)
        """Where only these are compared."""

    def begin(self) -> None:
        if len(self._node.path) > MAX_PATH_BYTES:
            self._fail(errno.ENAMETOOLONG)
            return
        if not self._listing.entries:
            self.go_on()
            return
        path = self._node.path
        self._desk.ask_here(lambda number: NamesHere(number, path), self._named)

    def _named(self, error: int, names: Sequence[bytes]) -> None:
        if self.is_over:
            return
        if error not in (0, *ABSENT):
            self._fail(error)
            return
        self._names_here = [] if error else sorted(names)
        self.go_on()

    @property
    def is_over(self) -> bool:
        return self._listing.is_over

    def go_on(self) -> None:
        if self.is_over:
            return
        names: tuple[bytes, ...] = ()
        if not self._listing.entries:
            names, self._asked = tuple(self._asked[:MAX_NAMES]), self._asked[MAX_NAMES:]
        path, after = self._node.path, self._after
        self._desk.ask_there(lambda number: List(number, path, after, names), partial(self._listed, names))

    def _listed(self, names: tuple[bytes, ...], error: int, entries: Sequence[Entry], last: bool) -> None:
        if self.is_over:
            return
        if error:
            self._absent() if error in ABSENT else self._fail(error)
            return
        there = {entry.name: entry for entry in entries}
        own = there.pop(b"", None) or refuse("a list without the directory itself")
        if self._listing.entries:
            names, more = self._names_of(there, last), not last
        else:
            names = names if last else self._answered(there, names)
            more = bool(self._asked)
        self._look(own, there, names, more)

    def _answered(self, there: dict[bytes, Entry], names: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those that it had room for; the rest is asked for again."""
        end = max(there, default=b"")
        answered = tuple(name for name in names if name <= end)
        if not answered:
            refuse("a page of a list without entries that is not the last")
        self._asked[:0] = names[len(answered) :]
        return answered

    def _names_of(self, there: dict[bytes, Entry], last: bool) -> tuple[bytes, ...]:
        """All that either side has up to the end of this page."""
        end = max(there, default=b"")
        if not last and end <= self._after:
            refuse("a page of a list without entries that is not the last")
        here = [name for name in self._names_here if self._after < name and (last or name <= end)]
        self._after = end
        return tuple(sorted({*here, *there}))

    def _look(self, own: Entry, there: dict[bytes, Entry], names: tuple[bytes, ...], more: bool) -> None:
        path, chunk = self._node.path, names[:MAX_NAMES]
        rest = names[MAX_NAMES:]

        def looked(error: int, entries: Sequence[Entry]) -> None:
            if self.is_over:
                return
            if error not in (0, *ABSENT):
                self._fail(error)
                return
            self._compare(own, there, chunk, {entry.name: entry for entry in entries})
            if rest:
                self._look(own, there, rest, more)
            elif more and self._work.has_room:
                self.go_on()
            elif more:
                self._work.pause(self)
            else:
                self._work.tree.finish(self._node)

        self._desk.ask_here(lambda number: EntriesHere(number, path, chunk), looked)

    def _compare(
        self, own: Entry, there: dict[bytes, Entry], names: tuple[bytes, ...], here: dict[bytes, Entry]
    ) -> None:
        own_here = here.pop(b"", None)
        if own_here is not None and not same_attributes(own_here, own):
            self._node.changed = True
        for name in names:
            if name not in self._listing.touched:
                self._work.compare(self._node, self._listing, name, here.get(name), there.get(name))

    def _fail(self, error: int) -> None:
        """The directory cannot be read now, here or there: that says nothing of what is in it."""
        self._node.reset()
        self._work.postpone(self._node, error)

    def _absent(self) -> None:
        """There is no such directory there: it is dealt with as an entry of the one above."""
        node = self._node
        if node.parent is None:
            refuse("there is no such directory as is replicated")
        node.purge = node.changed = False
        node.parent.add(node.name, None)
        self._work.tree.push(node.parent)
        self._work.tree.finish(node)
