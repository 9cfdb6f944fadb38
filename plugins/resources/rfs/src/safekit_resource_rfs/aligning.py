"""One entry of a directory: what has to be done so that it becomes there what it is here."""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Callable
from typing import Final

from safekit_resource_rfs import changes
from safekit_resource_rfs.changes import MAX_PATH_BYTES, Change, Entry
from safekit_resource_rfs.compare import UNREADABLE, join
from safekit_resource_rfs.copying import FileCopy
from safekit_resource_rfs.desk import Desk
from safekit_resource_rfs.links import Bond, Links
from safekit_resource_rfs.settling import PERMISSIONS, settle
from safekit_resource_rfs.worktree import Job, Listing, Node, WorkTree, Zones

MAX_NAMED: Final = 10_000
MAX_WRITTEN: Final = 200_000
Protect = Callable[[bytes, int, Callable[[], None]], None]


class Aligning:
    """`pump` is called when something may go on."""

    def __init__(self, desk: Desk, protect: Protect, *, aside: bool) -> None:
        """`protect(directory, inode, then)`: mark the file, or with inode 0 the directory, as a whole; `then` is called
        when that is durable."""
        self.desk = desk
        self.tree = WorkTree(self._cancel)
        self._protect = protect
        self._aside = aside
        self._links = Links()
        self._waiting: deque[FileCopy] = deque()
        self._running: dict[FileCopy, None] = {}
        self._written: set[int] = set()
        """Inodes with live changes: that size and time differ says nothing about them."""
        self._named: dict[bytes, None] = {}
        """Paths by which live changes meant a file."""
        self._settling = 0
        self._protecting = 0
        self._protected: set[int] = set()

    def pump(self) -> None:
        raise NotImplementedError

    def postpone(self, what: Node | bytes | None, error: int) -> None:
        """Something here or there failed for a reason that does not go at once."""
        raise NotImplementedError

    def put(self, change: Change) -> None:
        self.desk.stream.put(change)

    def add_everything(self) -> None:
        self._links.sees_all = True
        self.tree.add_everything()

    def _distrust(self, path: bytes, there: Entry) -> None:
        """What is there at this path is not the same file: live changes may have been made to what has other names."""
        if there.links > 1 and not stat.S_ISDIR(there.mode) and (path in self._named or len(self._named) >= MAX_NAMED):
            self._named.clear()
            self.add_everything()

    def compare(self, node: Node, listing: Listing, name: bytes, here: Entry | None, there: Entry | None) -> None:
        job = node.files.get(name)
        if len(join(node.path, name)) > MAX_PATH_BYTES:
            self.postpone(join(node.path, name), errno.ENAMETOOLONG)
        elif job is not None:
            job.is_asked_again = job.is_asked_again or name in listing.names
        elif here is None:
            if there is not None:
                self._remove(node, there)
        elif there is None:
            self._create(node, here, self._is_whole(node, listing, here, None))
        elif _differ_in_kind(here, there):
            self._replace(node, there)
        else:
            self._align(node, listing, here, there)

    def _is_whole(self, node: Node, listing: Listing, here: Entry, there: Entry | None) -> bool:
        if listing.deep or listing.names.get(here.name, ()) is None:
            return True
        born_there = there is not None and _born_ns(there) >= node.since_there
        return _born_ns(here) >= node.since_here or born_there

    def _mark_changed(self, node: Node | None) -> None:
        if node is not None:
            node.changed = True

    def _remove(self, node: Node, there: Entry) -> None:
        self._mark_changed(node)
        self._distrust(join(node.path, there.name), there)
        if stat.S_ISDIR(there.mode) and not self._aside:
            child = node.child(there.name)
            child.entries = child.deep = child.purge = True
            self.tree.push(child)
        else:
            self._take_away(join(node.path, there.name), is_directory=stat.S_ISDIR(there.mode))

    def _take_away(self, path: bytes, *, is_directory: bool) -> None:
        """Slots that mean it there, mean another file than here: what is written through them must not go there."""
        for slot in self.desk.stream.live_slots.bound_at(path):
            self.put(changes.Unbind(slot))
        self.put(changes.Remove(path, is_directory))

    def _replace(self, node: Node, there: Entry) -> None:
        self._remove(node, there)
        if there.name not in node.children or not node.children[there.name].purge:
            node.add(there.name, None)

    def _create(self, node: Node, here: Entry, is_marked: bool) -> None:
        """`is_marked`: that an interrupted resync left it unfinished would be found by the next one."""
        is_directory = stat.S_ISDIR(here.mode)
        path = join(node.path, here.name)
        if not is_marked and here.inode not in self._protected and (is_directory or stat.S_ISREG(here.mode)):
            self._protect_first(node, here)
            return
        if is_directory:
            self._mark_changed(node)
            self.put(_made(path, here))
            child = node.child(here.name)
            child.entries = child.deep = child.changed = True
            self.tree.push(child)
        else:
            self._create_file(node, here, path)

    def _protect_first(self, node: Node, here: Entry) -> None:
        self._protecting += 1

        def protected() -> None:
            self._protecting -= 1
            self._protected.add(here.inode)
            if node.is_gone:
                self.add_everything()
            else:
                node.add(here.name, None)
                self.tree.push(node)
            self.pump()

        if stat.S_ISDIR(here.mode):
            self._protect(join(node.path, here.name), 0, protected)
        else:
            self._protect(node.path, here.inode, protected)

    def _create_file(self, node: Node, here: Entry, path: bytes) -> None:
        bond, group = self._links.judge(path, here, None, whole=True)
        if bond is Bond.WAIT:
            return
        self._mark_changed(node)
        if bond is Bond.LINK and group is not None:
            self._link(node, here.name, group.first)
            if group.is_dirty or not group.is_compared:
                self.tree.add(group.first)
        elif stat.S_ISREG(here.mode):
            self._copy(node, here, None, None)
        else:
            self.put(_made(path, here))
            self._settle(node, here.name, b"")

    def _link(self, node: Node, name: bytes, existing: bytes) -> None:
        path = join(node.path, name)
        self._mark_changed(node)
        self.put(changes.MakeLink(path, existing))
        for slot in self.desk.stream.live_slots.bound_to(path):
            self.put(changes.Bind(slot, path))

    def _copy(self, node: Node, here: Entry, there: Entry | None, zones: Zones) -> None:
        if zones is None:
            self._links.compared(here.inode)
        is_written = here.inode in self._written or len(self._written) >= MAX_WRITTEN
        is_sized = there is not None and there.size == here.size and not is_written
        job = FileCopy(
            self.desk,
            node,
            here,
            there,
            zones,
            self._file_done,
            self._file_differs,
            is_sized=is_sized,
            is_settled=there is not None and same_attributes(here, there),
        )
        node.files[here.name] = job
        self._waiting.append(job)

    def _align(self, node: Node, listing: Listing, here: Entry, there: Entry) -> None:
        whole = self._is_whole(node, listing, here, there)
        if not stat.S_ISDIR(here.mode):
            self._align_file(node, listing, here, there, whole)
            return
        if whole or listing.scan:
            child = node.child(here.name)
            child.entries = True
            child.deep = child.deep or whole
            child.scan = child.scan or listing.scan
            self.tree.push(child)
        if not same_attributes(here, there):
            self._settle(node, here.name, there.xattrs)
            if here.name in node.children:
                node.children[here.name].changed = True

    def _align_file(self, node: Node, listing: Listing, here: Entry, there: Entry, whole: bool) -> None:
        path = join(node.path, here.name)
        bond, _ = self._links.judge(path, here, there, whole=whole)
        if bond is Bond.WAIT:
            return
        if bond is not Bond.FREE:
            self._distrust(path, there)
            self._take_away(path, is_directory=False)
            node.add(here.name, None)
            self._mark_changed(node)
            return
        zones = None if whole else listing.names.get(here.name)
        differs = here.size != there.size or here.mtime_ns != there.mtime_ns
        if not whole and not zones and differs and here.inode not in self._written:
            zones, whole = None, True
        if stat.S_ISREG(here.mode) and (whole or zones):
            self._copy(node, here, there, zones)
        elif not same_attributes(here, there):
            self._settle(node, here.name, there.xattrs)

    def _settle(self, node: Node, name: bytes, digest: bytes) -> None:
        self._settling += 1

        def settled(error: int) -> None:
            self._settling -= 1
            if error:
                self.postpone(join(node.path, name), error)
            self.tree.push(node)

        settle(self.desk, node, name, digest, settled)

    def _cancel(self, job: Job) -> None:
        assert isinstance(job, FileCopy)
        self._running.pop(job, None)
        job.release()

    def _file_differs(self, job: FileCopy) -> None:
        del self._running[job]
        self._waiting.appendleft(job)
        self.pump()

    def _file_done(self, job: FileCopy, again: bool, error: int) -> None:
        self._running.pop(job, None)
        if error:
            self.postpone(join(job.node.path, job.name), error)
        self.tree.finish_job(job, again=again and not error)


def _born_ns(entry: Entry) -> int:
    return entry.born_ns or entry.ctime_ns


def _differ_in_kind(here: Entry, there: Entry) -> bool:
    if stat.S_IFMT(here.mode) != stat.S_IFMT(there.mode):
        return True
    return here.target != there.target or here.device != there.device


def same_attributes(here: Entry, there: Entry) -> bool:
    if here.xattrs == UNREADABLE:
        return False
    return (here.mode, here.uid, here.gid, here.mtime_ns, here.xattrs) == (
        there.mode,
        there.uid,
        there.gid,
        there.mtime_ns,
        there.xattrs,
    )


def _made(path: bytes, here: Entry) -> Change:
    if stat.S_ISDIR(here.mode):
        return changes.MakeDirectory(path, here.mode & PERMISSIONS, here.uid, here.gid)
    if stat.S_ISLNK(here.mode):
        return changes.MakeSymlink(path, here.target, here.uid, here.gid)
    return changes.MakeNode(path, here.mode, here.device, here.uid, here.gid)
