"""Which names are one file, on either side."""

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


@dataclass(slots=True)
class Group:
    """A file with several names here."""

    first: bytes
    """Name that was dealt with first."""
    inode_there: int | None
    is_dirty: bool = False
    """Live changes wrote to it since: through a name that may not have been the same file there."""


class Links:
    def __init__(self) -> None:
        self._groups: dict[int, Group] = {}
        self._firsts: dict[bytes, int] = {}
        self._claimed: dict[int, int] = {}
        """Inodes there, and which inode here each is."""

    def judge(self, path: bytes, here: Entry, there: Entry | None) -> tuple[Bond, Group | None]:
        group = self._groups.get(here.inode)
        if group is not None and group.first != path:
            same = there is not None and there.inode == group.inode_there
            return (Bond.FREE, group) if same else (Bond.LINK, group)
        if there is not None and there.links > 1:
            owner = self._claimed.get(there.inode)
            if here.links == 1 or (owner is not None and owner != here.inode):
                return Bond.BREAK, None
            self._claimed[there.inode] = here.inode
        if here.links > 1:
            self._groups[here.inode] = Group(path, there.inode if there is not None else None)
            self._firsts[path] = here.inode
        return Bond.FREE, None

    def touch(self, inode: int) -> None:
        group = self._groups.get(inode)
        if group is not None:
            group.is_dirty = True

    def lost(self, path: bytes) -> None:
        """The name means something else now, or nothing."""
        inode = self._firsts.pop(path, None)
        if inode is not None:
            self._groups.pop(inode, None)

    def renamed(self, change: Rename) -> None:
        if not change.flags & 2:
            self.lost(change.new)
        for group in self._groups.values():
            group.first = moved(group.first, change)
        self._firsts = {group.first: inode for inode, group in self._groups.items()} if self._groups else {}
