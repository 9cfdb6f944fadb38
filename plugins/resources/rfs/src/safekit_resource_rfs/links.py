"""Which names are one file, on either side.

A name that was not marked as a whole means the same file on both sides as it always did; so it tells which inode there
belongs to which here. A name that came in another way waits until such a one is found, or all names are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from safekit_resource_rfs.changes import Entry, Rename
from safekit_resource_rfs.slots import moved


@unique
class Bond(Enum):
    FREE = "free"
    """The entry is treated by itself."""
    LINK = "link"
    """It has to be made a link of a name that was dealt with."""
    BREAK = "break"
    """There it is one file with what is another here: it has to be made anew."""
    WAIT = "wait"
    """Until another name of the file is found."""


@dataclass(slots=True)
class Group:
    """A file with several names here."""

    first: bytes
    """Name that was dealt with first."""
    inode_there: int | None
    is_compared: bool = False
    """All of its data."""
    is_dirty: bool = False
    """Live changes wrote to it since: through a name that may not have been the same file there."""


class Links:
    def __init__(self) -> None:
        self.sees_all = False
        """Every name is compared: none has to be waited for."""
        self._groups: dict[int, Group] = {}
        self._firsts: dict[bytes, int] = {}
        self._has_new = False
        """Since names were last looked for that have to wait no longer."""
        self._claimed: dict[int, int] = {}
        """Inodes there, and which inode here each is."""
        self._waiting: dict[bytes, int] = {}
        """Names, and their inodes here."""
        self._wanted: dict[int, int] = {}
        """How many names each of those has."""
        self._made: set[bytes] = set()
        """Names that were made there, or may be such names after a rename: what file they are there is not known."""
        self._searched: set[int] = set()
        """Inodes whose names were looked for everywhere."""
        self._free: set[int] = set()
        """Inodes of which all names are known."""

    def judge(self, path: bytes, here: Entry, there: Entry | None, *, whole: bool) -> tuple[Bond, Group | None]:
        group = self._groups.get(here.inode)
        if group is not None and group.first != path:
            if there is not None and there.inode == group.inode_there:
                return Bond.FREE, group
            self._made.add(path)
            return Bond.LINK, group
        if group is not None and there is not None:
            group.inode_there = there.inode
            self._claimed[there.inode] = here.inode
            return Bond.FREE, group
        if group is not None:
            self.lost(path)
        if here.links > 1 and (there is None or whole) and self._waits(path, here):
            return Bond.WAIT, None
        if there is not None and there.links > 1 and not self._claims(path, here.inode, there.inode, whole=whole):
            return Bond.BREAK, None
        if here.links > 1:
            self._groups[here.inode] = Group(path, there.inode if there is not None else None)
            if there is None:
                self._made.add(path)
            self._firsts[path] = here.inode
            self._has_new = True
        return Bond.FREE, None

    def _claims(self, path: bytes, here: int, there: int, *, whole: bool) -> bool:
        """Whether the file there, which has other names, may be this one: those may belong to another file here."""
        owner = self._claimed.get(there)
        if owner is None and (not whole or (self.sees_all and path not in self._made)):
            self._claimed[there] = owner = here
        return owner == here

    def _waits(self, path: bytes, here: Entry) -> bool:
        if self.sees_all or here.inode in self._free:
            return False
        self._waiting[path] = here.inode
        self._has_new = self._has_new or here.inode in self._groups
        self._wanted[here.inode] = here.links
        return True

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def is_waiting(self, path: bytes) -> bool:
        return path in self._waiting

    def found(self) -> tuple[bytes, ...]:
        """Names that have to wait no longer."""
        if not self._has_new or not self._waiting:
            return ()
        self._has_new = False
        return self._take([path for path, inode in self._waiting.items() if inode in self._groups])

    def complete(self) -> tuple[bytes, ...]:
        """Names of files all of whose names wait: there is none that could tell more."""
        counts: dict[int, int] = {}
        for inode in self._waiting.values():
            counts[inode] = counts.get(inode, 0) + 1
        done = {inode for inode, count in counts.items() if count >= self._wanted[inode]}
        self._free |= done
        return self._take([path for path, inode in self._waiting.items() if inode in done])

    def search(self) -> bool:
        """Whether names have to be looked for everywhere, now."""
        new = set(self._waiting.values()) - self._searched
        self._searched |= new
        return bool(new)

    def all(self) -> tuple[bytes, ...]:
        self._free |= set(self._waiting.values())
        return self._take(list(self._waiting))

    def _take(self, paths: list[bytes]) -> tuple[bytes, ...]:
        for path in paths:
            del self._waiting[path]
        return tuple(paths)

    def compared(self, inode: int) -> None:
        group = self._groups.get(inode)
        if group is not None:
            group.is_compared = True

    def touch(self, inode: int) -> None:
        group = self._groups.get(inode)
        if group is not None:
            group.is_dirty = True

    def lost(self, path: bytes) -> None:
        """The name means something else now, or nothing."""
        self._waiting.pop(path, None)
        inode = self._firsts.pop(path, None)
        if inode is not None:
            self._groups.pop(inode, None)

    def renamed(self, change: Rename) -> None:
        if not change.flags & 2:
            self.lost(change.new)
        if self._made:
            self._made |= {moved(path, change) for path in self._made}
        if self._waiting:
            self._waiting = {moved(path, change): inode for path, inode in self._waiting.items()}
        if self._groups:
            for group in self._groups.values():
                group.first = moved(group.first, change)
            self._firsts = {group.first: inode for inode, group in self._groups.items()}
