"""Make a secondary equal while the primary goes on: compare what is marked, and put what differs into the stream.

What the secondary has is asked of it at one position of the stream; what is here is looked at when the answer has come,
at the position where the changes that follow from both go into the stream. Names that live changes gave or took in
between are left alone: such a change was applied there, or is reported as missed.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from safekit_resource_rfs import changes
from safekit_resource_rfs.changes import Change, Entry, Rename
from safekit_resource_rfs.compare import join
from safekit_resource_rfs.copying import PERMISSIONS, FileCopy, settle
from safekit_resource_rfs.desk import Answer, Desk, Progress, Stream
from safekit_resource_rfs.effects import Effect, EntriesHere, NamesHere
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.links import Bond, Links
from safekit_resource_rfs.marks import ATTRIBUTES, GONE, LOST, Place
from safekit_resource_rfs.messages import MAX_NAMES, List, Marked
from safekit_resource_rfs.slots import moved
from safekit_resource_rfs.worktree import Job, Listing, Node, WorkTree, Zones

DIRECTORIES_AT_ONCE: Final = 8
FILES_AT_ONCE: Final = 24
MAX_WAITING_FILES: Final = 512
MAX_RENAMES: Final = 10_000
"""While marks are looked for; more: everything is compared."""
MAX_WRITTEN: Final = 200_000
MAX_LATE: Final = 10_000
LATE_S: Final = 2.0
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)
_EXPECTED: Final = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOTEMPTY,
        errno.EBADF,
        errno.ENODATA,
        errno.ELOOP,
    )
)
"""Of changes that meet another tree than they were made for."""


class Resync:
    """Of one connection. `pump` after anything that may let it go on."""

    def __init__(
        self,
        stream: Stream,
        ids: Iterator[int],
        protect: Callable[[bytes, int, Callable[[], None]], None],
        *,
        aside: bool,
        bytes_per_s: float,
    ) -> None:
        """`protect(directory, inode, then)`: mark the file, or with inode 0 the directory, as a whole; `then` is called
        when that is durable."""
        self._desk = Desk(stream, ids, bytes_per_s)
        self._protect = protect
        self._aside = aside
        self.tree = WorkTree(self._cancel)
        self._links = Links()
        self._waiting: deque[FileCopy] = deque()
        self._running: dict[FileCopy, None] = {}
        self._paused: deque[_Page] = deque()
        self._pages: list[_Page] = []
        self._written: set[int] = set()
        """Inodes with live changes: that size and time differ says nothing about them."""
        self._renames: list[Rename] | None = []
        """While marks are looked for."""
        self._has_scanned = False
        self._named: dict[bytes, None] = {}
        """Paths by which live changes meant a file."""
        self._loses = False
        """The next change takes a name of a file that has others."""
        self._settling = 0
        self._protecting = 0
        self._protected: set[int] = set()
        self._late_until_s = 0.0
        self._late: list[bytes | None] = []
        """Missed for a reason that does not go by itself; None: no one knows where."""

    @property
    def is_done(self) -> bool:
        busy = self._renames is not None or self._settling or self._protecting or self._late
        return not busy and not self._links.has_waiting and self.tree.is_done

    @property
    def progress(self) -> Progress:
        return self._desk.progress

    def ask_here(self, make: Callable[[int], Effect], then: Callable[..., None]) -> None:
        self._desk.ask_here(make, then)

    def answer(self, number: int, *values: object) -> None:
        self._desk.answer(number, *values)
        self.pump()

    def answered(self, message: Answer) -> None:
        self._desk.answered(message)
        self.pump()

    def tick(self, now_s: float) -> None:
        self._desk.refill(now_s)
        if now_s >= self._late_until_s:
            self._late_until_s = now_s + LATE_S
            late, self._late = self._late, []
            for path in late:
                self._add(path)
        self.pump()

    def done(self, seq: int) -> None:
        """The secondary has applied all up to this number."""
        self._desk.slots.done(seq)
        self.pump()

    # what is to be compared

    def mark(self, directories: Iterable[Marked], *, here: bool) -> None:
        """Paths as they were at some time since the connection began: they may have been renamed since, or not."""
        for marked in directories:
            for path in self._possible(marked.path):
                renamed = Marked(path, marked.since_ns, marked.entries, marked.deep, marked.files)
                self.tree.mark(renamed, here=here)

    def _possible(self, path: bytes) -> dict[bytes, None]:
        found = {path: None}
        for change in self._renames or ():
            found |= {moved(each, change): None for each in found}
        return found

    def marks_are_complete(self) -> None:
        self._renames = None
        self.pump()

    def touch(self, places: Iterable[Place]) -> None:
        """Before a live change."""
        self._loses = False
        for place in places:
            if place.zone == LOST:
                self._loses = True
            if not place.inode or place.zone in (LOST, GONE, ATTRIBUTES):
                continue
            if len(self._written) < MAX_WRITTEN:
                self._written.add(place.inode)
            self._links.touch(place.inode)
            for job in self._running:
                if job.inode == place.inode:
                    job.touch(place.zone)

    def observe(self, change: Change) -> None:
        """A live change that went into the stream."""
        if isinstance(change, Rename):
            self._observe_rename(change)
        elif isinstance(change, changes.Remove):
            self._widen(change.path)
            self._links.lost(change.path)
            self.tree.removed(change.path)
        elif isinstance(change, changes.MakeLink):
            self.tree.linked(change.path, change.existing)
            if self._renames is not None or self._links.is_waiting(change.existing):
                self.tree.add(change.path)
        elif isinstance(change, changes.MakeFile | changes.MakeDirectory | changes.MakeNode | changes.MakeSymlink):
            self.tree.touched(change.path)
        elif isinstance(change, changes.Bind | changes.SetAttributes | changes.SetXattr | changes.RemoveXattr):
            self.named(change.path)

    def named(self, path: bytes) -> None:
        """A live change means the file at this path, which may be another one there."""
        if len(self._named) < MAX_RENAMES:
            self._named[path] = None

    def _distrust(self, path: bytes, there: Entry) -> None:
        """What is there at this path is not the same file: live changes may have been made to what has other names."""
        if there.links > 1 and not stat.S_ISDIR(there.mode) and (path in self._named or len(self._named) >= MAX_RENAMES):
            self._named.clear()
            self.add_everything()

    def _observe_rename(self, change: Rename) -> None:
        if not change.flags & 2:
            self._widen(change.new)
        self._links.renamed(change)
        self._named = {moved(path, change): None for path in self._named}
        self.tree.renamed(change.old, change.new, change.flags)
        if self._renames is None:
            return
        self._renames.append(change)
        for path in (change.old, change.new):
            self.tree.add(path)
        if len(self._renames) > MAX_RENAMES:
            self._renames = []
            self.add_everything()

    def _widen(self, path: bytes) -> None:
        """A name goes while the file that it meant has others, and differs perhaps: these are looked for."""
        loses, self._loses = self._loses, False
        if loses and (self._renames is not None or self.tree.is_pending(path) or self._links.is_waiting(path)):
            self.add_everything()

    def missed(self, seq: int, change: Change, error: int, later: Sequence[Change]) -> None:
        """The secondary could not apply it. `later`: what followed in the stream since."""
        for path in self._paths(change, [each for each in later if isinstance(each, Rename)]):
            if path is not None and self._is_copied_after(seq, path):
                continue
            if error in _EXPECTED:
                self._add(path)
            elif len(self._late) < MAX_LATE:
                self._late.append(path)
            else:
                self._late = [None]
        self.pump()

    def _is_copied_after(self, seq: int, path: bytes) -> bool:
        """Whether what was missed is part of what is copied anyway."""
        job = self.tree.job(path)
        return isinstance(job, FileCopy) and job.is_whole and not 0 < job.began_seq < seq

    def add_everything(self) -> None:
        self._links.sees_all = True
        self.tree.add_everything()

    def _add(self, path: bytes | None) -> None:
        if path is None:
            self.add_everything()
        else:
            self.tree.add(path)

    def _paths(self, change: Change, renames: Sequence[Rename]) -> Iterator[bytes | None]:
        """Where it would have been, as of now."""
        if isinstance(change, changes.Unbind | changes.Sync | changes.SyncDirectory):
            return
        if isinstance(change, changes.Write | changes.Resize | changes.Allocate):
            if change.slot < changes.SLOTS:
                yield self._desk.stream.live_slots.path(change.slot)
                return
            paths: tuple[bytes, ...] = (self._desk.slots.paths[change.slot],)
        else:
            paths = (change.old, change.new) if isinstance(change, Rename) else (change.path,)
        for path in paths:
            for rename in renames:
                path = moved(path, rename)
            yield path

    # going on

    def pump(self) -> None:
        if self._renames is not None:
            return
        self._find_links()
        for job in tuple(self._running):
            job.pump()
        self._start_files()
        while self._paused and self._has_room:
            self._paused.popleft().go_on()
        self._pages = [page for page in self._pages if not page.is_over]
        while len(self._pages) < DIRECTORIES_AT_ONCE and self._has_room:
            node = self.tree.pop()
            if node is None:
                break
            if node.has_work:
                self._pages.append(_Page(self, node))
                self._pages[-1].begin()
            else:
                self._leave(node)

    def _find_links(self) -> None:
        paths = self._links.found()
        if not paths and self._links.has_waiting and self.tree.is_done and not self._protecting:
            paths = self._links.complete()
            if not paths and not self._has_scanned:
                self._has_scanned = True
                self.tree.scan()
            elif not paths:
                paths = self._links.all()
        for path in paths:
            self.tree.add(path)

    @property
    def _has_room(self) -> bool:
        return self._desk.stream.has_room() and len(self._waiting) < MAX_WAITING_FILES

    def _start_files(self) -> None:
        while self._waiting and len(self._running) < FILES_AT_ONCE and self._desk.may_copy:
            job = self._waiting.popleft()
            if not job.is_over:
                self._running[job] = None
                job.start()

    def _cancel(self, job: Job) -> None:
        assert isinstance(job, FileCopy)
        self._running.pop(job, None)
        job.release()

    def _file_done(self, job: FileCopy, again: bool) -> None:
        self._running.pop(job, None)
        self.tree.finish_job(job, again=again)

    def _leave(self, node: Node) -> None:
        """Everything beneath it is done."""
        if node.changed:
            node.changed = False
            self._settle(node, b"", b"?")
        elif node.purge:
            self._purge(node)
        else:
            self.tree.detach(node)

    def _settle(self, node: Node, name: bytes, digest: bytes) -> None:
        self._settling += 1

        def settled(found: bool) -> None:
            self._settling -= 1
            self.tree.push(node)

        settle(self._desk, node, name, digest, settled)

    def _purge(self, node: Node) -> None:
        """It is empty there now; it goes, if there is still none here."""
        self._settling += 1

        def looked(error: int, entries: Sequence[Entry]) -> None:
            self._settling -= 1
            node.purge = False
            if error in _ABSENT and node.is_idle and not node.is_gone:
                self.put(changes.Remove(node.path, True))
                self._mark_changed(node.parent)
                self.tree.add(node.path)
            self.tree.push(node)

        path = node.path
        self._desk.ask_here(lambda number: EntriesHere(number, path, ()), looked)

    def _mark_changed(self, node: Node | None) -> None:
        if node is not None:
            node.changed = True

    def put(self, change: Change) -> None:
        self._desk.stream.put(change)

    # one entry

    def compare(self, node: Node, listing: Listing, name: bytes, here: Entry | None, there: Entry | None) -> None:
        job = node.files.get(name)
        if job is not None:
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

    def _remove(self, node: Node, there: Entry) -> None:
        self._mark_changed(node)
        self._distrust(join(node.path, there.name), there)
        if stat.S_ISDIR(there.mode) and not self._aside:
            child = node.child(there.name)
            child.entries = child.deep = child.purge = True
            self.tree.push(child)
        else:
            self.put(changes.Remove(join(node.path, there.name), stat.S_ISDIR(there.mode)))

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
        for slot in self._desk.stream.live_slots.bound_to(path):
            self.put(changes.Bind(slot, path))

    def _copy(self, node: Node, here: Entry, there: Entry | None, zones: Zones) -> None:
        if zones is None:
            self._links.compared(here.inode)
        job = FileCopy(self._desk, node, here.name, here, there, zones)
        job.done = self._file_done
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
        if not _same_attributes(here, there):
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
            self.put(changes.Remove(path, False))
            node.add(here.name, None)
            self._mark_changed(node)
            return
        zones = None if whole else listing.names.get(here.name)
        differs = here.size != there.size or here.mtime_ns != there.mtime_ns
        if not whole and not zones and differs and here.inode not in self._written:
            zones, whole = None, True
        if stat.S_ISREG(here.mode) and (whole or zones):
            self._copy(node, here, there, zones)
        elif not _same_attributes(here, there):
            self._settle(node, here.name, there.xattrs)


class _Page:
    """A directory, page by page."""

    def __init__(self, resync: Resync, node: Node) -> None:
        self._resync = resync
        self._desk = resync._desk
        self._node = node
        self._listing = Listing(node)
        node.listing = self._listing
        self._after = b""
        self._names_here: list[bytes] = []
        self._asked = sorted(self._listing.names)
        """Where only these are compared."""

    def begin(self) -> None:
        if not self._listing.entries:
            self.go_on()
            return
        path = self._node.path
        self._desk.ask_here(lambda number: NamesHere(number, path), self._named)

    def _named(self, error: int, names: Sequence[bytes]) -> None:
        if self.is_over:
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
            self._absent(error)
            return
        there = {entry.name: entry for entry in entries}
        own = there.pop(b"", None) or refuse("a list without the directory itself")
        more = bool(self._asked)
        if self._listing.entries:
            names, more = self._names_of(there, last), not last
        self._look(own, there, names, more)

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
            self._compare(own, there, chunk, {entry.name: entry for entry in entries})
            if rest:
                self._look(own, there, rest, more)
            elif more and self._resync._has_room:
                self.go_on()
            elif more:
                self._resync._paused.append(self)
            else:
                self._resync.tree.finish(self._node)

        self._desk.ask_here(lambda number: EntriesHere(number, path, chunk), looked)

    def _compare(
        self, own: Entry, there: dict[bytes, Entry], names: tuple[bytes, ...], here: dict[bytes, Entry]
    ) -> None:
        own_here = here.pop(b"", None)
        if own_here is not None and not _same_attributes(own_here, own):
            self._node.changed = True
        for name in names:
            if name not in self._listing.touched:
                self._resync.compare(self._node, self._listing, name, here.get(name), there.get(name))

    def _absent(self, error: int) -> None:
        """There is no such directory there: it is dealt with as an entry of the one above."""
        node = self._node
        if node.parent is None or error not in _ABSENT:
            refuse(f"a directory cannot be listed: error {error}")
        node.purge = node.changed = False
        node.parent.add(node.name, None)
        self._resync.tree.push(node.parent)
        self._resync.tree.finish(node)


def _born_ns(entry: Entry) -> int:
    return entry.born_ns or entry.ctime_ns


def _differ_in_kind(here: Entry, there: Entry) -> bool:
    if stat.S_IFMT(here.mode) != stat.S_IFMT(there.mode):
        return True
    return here.target != there.target or here.device != there.device


def _same_attributes(here: Entry, there: Entry) -> bool:
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
