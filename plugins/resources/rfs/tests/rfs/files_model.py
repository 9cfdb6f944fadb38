"""A file system in memory with a page cache: what was not synced can be lost at a power loss, data in any subset, names
and attributes in the order in which they were changed."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from safekit_resource_rfs import changes
from safekit_resource_rfs.changes import Change, Sync, SyncDirectory

from .tree_model import ROOT, Inode, Tree, fail

__all__ = ["ROOT", "Files", "fail"]

CAPABILITY = b"security.capability"
_DIRECTORY = stat.S_IFDIR


class Files(Tree):
    """Both what a primary executes and what a secondary applies."""

    def __init__(self, clock_ns: Callable[[], int], first_inode: int) -> None:
        super().__init__()
        self._clock_ns = clock_ns
        self._next = first_inode
        self._seq = 0
        self._snapshots: list[tuple[int, dict[int, Inode]]] = [(0, dict(self.inodes))]
        """What names and attributes may be after a power loss."""
        self._pending: dict[tuple[int, int], list[tuple[int, bytes | None]]] = {}
        """What each page may hold after a power loss."""
        self._lost: dict[tuple[int, int], bytes | None] = {}
        """What the disk has of pages that it refused: clean in the cache, and no later sync speaks of them."""
        self._slots: dict[int, int] = {}
        self.aside: list[tuple[bytes, Any]] = []
        self._asided: set[bytes] = set()

    # what a power loss leaves

    @property
    def position(self) -> int:
        return self._seq

    def commit(self, position: int, inode: int | None = None) -> None:
        """Up to this position all names and attributes are on the disk, and the data of the file, or of all."""
        kept = [at for at, (seq, _) in enumerate(self._snapshots) if seq <= position]
        del self._snapshots[: kept[-1] if kept else 0]
        for key, values in tuple(self._pending.items()):
            if inode is not None and key[0] != inode:
                continue
            old = [at for at, (seq, _) in enumerate(values) if seq <= position]
            del values[: old[-1] if old else 0]
            if len(values) == 1:
                del self._pending[key]

    def lose_power(self, random: Random) -> None:
        self._drop(self._lost)
        chosen = random.randrange(len(self._snapshots))
        self.inodes = dict(self._snapshots[chosen][1])
        for (inode, offset), values in self._pending.items():
            self._show(inode, offset, random.choice(values)[1])
        for inode, pages in self.pages.items():
            size = self.inodes[inode].size if inode in self.inodes else 0
            for offset in [offset for offset in pages if offset >= size]:
                del pages[offset]
        self._pending.clear()
        self._snapshots = [(self._seq, dict(self.inodes))]
        self._slots.clear()

    def refuse(self, position: int, random: Random, inode: int | None = None) -> None:
        """A sync up to this position fails: some of the data are lost, as the cache alone has them."""
        for key, values in tuple(self._pending.items()):
            is_meant = (inode is None or key[0] == inode) and values[1][0] <= position
            held = [value for _, value in values]
            if is_meant and held[-1] is not None and random.random() < 0.7:
                cut = max((at for at, value in enumerate(held) if value is None), default=0)
                self._lost[key] = random.choice(held[cut:-1])
                del self._pending[key]

    def drop_cached(self, path: bytes) -> bool:
        """Whether that changed anything."""
        number = self.find(path)
        return self._drop([key for key in self._lost if key[0] == number])

    def _drop(self, keys: Iterable[tuple[int, int]]) -> bool:
        dropped = list(keys)
        for key in dropped:
            self._show(*key, self._lost.pop(key))
        return bool(dropped)

    def _show(self, inode: int, offset: int, value: bytes | None) -> None:
        pages = self.pages.setdefault(inode, {})
        if value is None:
            pages.pop(offset, None)
        else:
            pages[offset] = value

    def is_lost(self, inode: int, offset: int) -> bool:
        return (inode, offset) in self._lost

    def is_stable(self, uid: int, pages: Mapping[int, int]) -> bool:
        """Whether the file would be there after a power loss, with pages of these versions or newer."""
        oldest = self._snapshots[0][1]
        found = [number for _, number in self.walk() if self.inodes[number].uid == uid and self.inodes[number].is_file]
        return any(number in oldest and self._has_versions(number, pages) for number in found)

    def _has_versions(self, number: int, pages: Mapping[int, int]) -> bool:
        for offset, version in pages.items():
            now = self._lost.get((number, offset), self.pages.get(number, {}).get(offset))
            values = [value for _, value in self._pending.get((number, offset), [(0, now)])]
            if any(value is None or int.from_bytes(value, "big") < version for value in values):
                return False
        return True

    def _changed(self) -> None:
        self._seq += 1
        self._snapshots.append((self._seq, dict(self.inodes)))

    def _put_page(self, inode: int, offset: int, value: bytes | None) -> None:
        pages = self.pages.setdefault(inode, {})
        before = self._lost.pop((inode, offset), pages.get(offset))
        self._seq += 1
        self._pending.setdefault((inode, offset), [(0, before)]).append((self._seq, value))
        self._show(inode, offset, value)

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        directory, _, name = path.rpartition(b"/")
        number = self.find(directory)
        if not self.inodes[number].is_directory:
            raise fail(errno.ENOTDIR)
        return number, name

    def _set_entry(self, directory: int, name: bytes, number: int | None) -> None:
        inode = self.inodes[directory]
        entries = dict(inode.entries)
        entries.pop(name, None)
        if number is not None:
            entries[name] = number
            if self.inodes[number].is_directory:
                self.inodes[number] = replace(self.inodes[number], parent=directory, name=name)
        self.inodes[directory] = replace(inode, entries=entries, mtime_ns=self._clock_ns())

    def _make(self, path: bytes, inode: Inode) -> int:
        directory, name = self._parent(path)
        if name in self.inodes[directory].entries:
            raise fail(errno.EEXIST)
        number, self._next = self._next, self._next + 1
        self.inodes[number] = inode
        self._set_entry(directory, name, number)
        self._changed()
        return number

    def _new(self, mode: int, change: Any, **more: Any) -> Inode:
        now_ns = self._clock_ns()
        return Inode(mode, change.uid, change.gid, now_ns, now_ns, **more)

    # changes

    def apply(self, change: Change, *, keep_aside: bool = False) -> None:
        if keep_aside:
            self._keep(change)
        getattr(self, "_" + type(change).__name__.lower())(change)

    def forget_slots(self) -> None:
        self._slots.clear()

    def _file(self, slot: int) -> int:
        if slot not in self._slots:
            raise fail(errno.EBADF)
        return self._slots[slot]

    def _bind(self, change: changes.Bind) -> None:
        self._slots.pop(change.slot, None)
        number = self.find(change.path)
        if not self.inodes[number].is_file:
            raise fail(errno.EISDIR)
        self._slots[change.slot] = number

    def _unbind(self, change: changes.Unbind) -> None:
        self._slots.pop(change.slot, None)

    def _write(self, change: changes.Write) -> None:
        number = self._file(change.slot)
        inode = self.inodes[number]
        size = max(inode.size, change.offset + len(change.data))
        self._put_page(number, change.offset, bytes(change.data))
        self.inodes[number] = replace(self._killed(number), size=size, mtime_ns=self._clock_ns())
        self._changed()

    def _resize(self, change: changes.Resize) -> None:
        number = self._file(change.slot)
        for offset in [offset for offset in self.pages.get(number, {}) if offset >= change.size]:
            self._put_page(number, offset, None)
        self.inodes[number] = replace(self._killed(number), size=change.size, mtime_ns=self._clock_ns())
        self._changed()

    def _allocate(self, change: changes.Allocate) -> None:
        number = self._file(change.slot)
        end = change.offset + change.length
        for offset in [offset for offset in self.pages.get(number, {}) if change.offset <= offset < end]:
            self._put_page(number, offset, None)
        self.inodes[number] = replace(self._killed(number), mtime_ns=self._clock_ns())
        self._changed()

    def _killed(self, number: int) -> Inode:
        """Without what a file's new data or owner take from it."""
        inode = self.inodes[number]
        kept = tuple(pair for pair in inode.xattrs if pair[0] != CAPABILITY)
        return replace(inode, xattrs=kept) if inode.is_file else inode

    def _makefile(self, change: changes.MakeFile) -> None:
        self._slots.pop(change.slot, None)
        self._slots[change.slot] = self._make(change.path, self._new(stat.S_IFREG | change.mode, change))

    def _makedirectory(self, change: changes.MakeDirectory) -> None:
        self._make(change.path, self._new(_DIRECTORY | change.mode, change))

    def _makenode(self, change: changes.MakeNode) -> None:
        self._make(change.path, self._new(change.mode, change, device=change.device))

    def _makesymlink(self, change: changes.MakeSymlink) -> None:
        self._make(change.path, self._new(stat.S_IFLNK | 0o777, change, target=change.target))

    def _makelink(self, change: changes.MakeLink) -> None:
        number = self.find(change.existing)
        if self.inodes[number].is_directory:
            raise fail(errno.EISDIR)
        directory, name = self._parent(change.path)
        if name in self.inodes[directory].entries:
            raise fail(errno.EEXIST)
        self._count_links(number, 1)
        self._set_entry(directory, name, number)
        self._changed()

    def _count_links(self, number: int, by: int) -> None:
        self.inodes[number] = replace(self.inodes[number], links=self.inodes[number].links + by)

    def _remove(self, change: changes.Remove) -> None:
        number = self.find(change.path)
        inode = self.inodes[number]
        if inode.is_directory is not change.is_directory:
            raise fail(errno.EISDIR if inode.is_directory else errno.ENOTDIR)
        if inode.entries:
            raise fail(errno.ENOTEMPTY)
        self._count_links(number, -1)
        self._set_entry(*self._parent(change.path), None)
        self._changed()

    def _rename(self, change: changes.Rename) -> None:
        old, new = self._parent(change.old), self._parent(change.new)
        moved = self.find(change.old)
        replaced = self.inodes[new[0]].entries.get(new[1])
        if change.flags & 2:
            if replaced is None:
                raise fail(errno.ENOENT)
            self._set_entry(*old, replaced)
        else:
            if replaced is not None:
                self._check_replaced(moved, replaced)
                self._count_links(replaced, -1)
            self._set_entry(*old, None)
        self._set_entry(*new, moved)
        self._changed()

    def _check_replaced(self, moved: int, replaced: int) -> None:
        there = self.inodes[replaced]
        if there.is_directory is not self.inodes[moved].is_directory:
            raise fail(errno.EISDIR if there.is_directory else errno.ENOTDIR)
        if there.entries:
            raise fail(errno.ENOTEMPTY)

    def _setattributes(self, change: changes.SetAttributes) -> None:
        number = self.find(change.path)
        inode = self.inodes[number] if change.uid is None and change.gid is None else self._killed(number)
        if stat.S_ISLNK(inode.mode) and change.mode is not None:
            raise fail(errno.EOPNOTSUPP)
        mode = inode.mode if change.mode is None else stat.S_IFMT(inode.mode) | change.mode
        uid = inode.uid if change.uid is None else change.uid
        gid = inode.gid if change.gid is None else change.gid
        mtime_ns = inode.mtime_ns if change.mtime_ns is None else change.mtime_ns
        self.inodes[number] = replace(inode, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns)
        self._changed()

    def _setxattr(self, change: changes.SetXattr) -> None:
        number = self.find(change.path)
        values = {**dict(self.inodes[number].xattrs), change.name: change.value}
        self.inodes[number] = replace(self.inodes[number], xattrs=tuple(sorted(values.items())))
        self._changed()

    def _removexattr(self, change: changes.RemoveXattr) -> None:
        number = self.find(change.path)
        values = dict(self.inodes[number].xattrs)
        if change.name not in values:
            raise fail(errno.ENODATA)
        del values[change.name]
        self.inodes[number] = replace(self.inodes[number], xattrs=tuple(sorted(values.items())))
        self._changed()

    def sync(self, change: Sync | SyncDirectory) -> tuple[int, int]:
        """The position and the inode, for `commit`."""
        inode = self._file(change.slot) if isinstance(change, Sync) else self.find(change.path)
        return self._seq, inode

    # kept aside

    def _keep(self, change: Change) -> None:
        for path in self._affected(change):
            if path in self._asided or any(path.startswith(done + b"/") for done in self._asided):
                continue
            self._asided.add(path)
            try:
                self._keep_tree(path, self.find(path))
            except OSError:
                continue
        if isinstance(change, changes.Remove) and change.is_directory:
            self._clear_directory(change.path)

    def _keep_tree(self, path: bytes, number: int) -> None:
        inode = self.inodes[number]
        if inode.is_file:
            self.aside.append((path, self.content(number)))
        for name, child in inode.entries.items():
            self._keep_tree(path + b"/" + name, child)

    def _clear_directory(self, path: bytes) -> None:
        """What was in it is kept aside."""
        try:
            number = self.find(path)
        except OSError:
            return
        self.inodes[number] = replace(self.inodes[number], entries={})

    def _affected(self, change: Change) -> Iterator[bytes]:
        slot = getattr(change, "slot", 0)
        if isinstance(change, changes.Write | changes.Resize | changes.Allocate):
            number = self._slots.get(slot)
            yield from (path for path, each in self.walk() if each == number)
        elif isinstance(change, changes.Remove):
            yield change.path
        elif isinstance(change, changes.Rename):
            yield change.new
            yield change.old
