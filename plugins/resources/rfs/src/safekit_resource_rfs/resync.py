"""Make a secondary equal while the primary goes on: compare what is marked, and put what differs into the stream.

What the secondary has is asked of it at one position of the stream; what is here is looked at when the answer has come,
at the position where the changes that follow from both go into the stream. Names that live changes gave or took in
between are left alone: such a change was applied there, or is reported as missed.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from safekit_resource_rfs import changes
from safekit_resource_rfs.aligning import MAX_NAMED, MAX_WRITTEN, Aligning, Protect
from safekit_resource_rfs.changes import MAX_PATH_BYTES, Change, Entry, Rename
from safekit_resource_rfs.compare import ABSENT, UNREADABLE
from safekit_resource_rfs.copying import FileCopy
from safekit_resource_rfs.desk import Answer, Desk, Progress, Stream
from safekit_resource_rfs.effects import Effect, EntriesHere, Report
from safekit_resource_rfs.local import KEEP_SIZE
from safekit_resource_rfs.marks import ATTRIBUTES, GONE, LOST, Place
from safekit_resource_rfs.messages import Marked
from safekit_resource_rfs.paging import Page
from safekit_resource_rfs.slots import moved
from safekit_resource_rfs.worktree import Node

DIRECTORIES_AT_ONCE: Final = 8
FILES_AT_ONCE: Final = 24
MAX_WAITING_FILES: Final = 512
MAX_RENAMES: Final = 10_000
"""While marks are looked for; more: everything is compared."""
MAX_LATE: Final = 10_000
LATE_S: Final = 2.0
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
_WHY: Final = {
    errno.E2BIG: "the names of its extended attributes are more than the kernel lists (64 KiB); remove some",
    errno.ENAMETOOLONG: f"its path is longer than {MAX_PATH_BYTES} bytes; move it up, or shorten a name above it",
}
_TOLD: Final = 100
"""Of a path, characters at each of its ends."""


class Resync(Aligning):
    """Of one connection. `pump` after anything that may let it go on."""

    def __init__(
        self, stream: Stream, ids: Iterator[int], protect: Protect, *, aside: bool, bytes_per_s: float
    ) -> None:
        super().__init__(Desk(stream, ids, bytes_per_s), protect, aside=aside)
        self._paused: deque[Page] = deque()
        self._pages: list[Page] = []
        self._renames: list[Rename] | None = []
        """While marks are looked for."""
        self._loses = False
        """The next change takes a name of a file that has others."""
        self._late_until_s = 0.0
        self._late: list[Node | bytes | None] = []
        """What failed for a reason that does not go at once; None: no one knows where."""

    @property
    def is_done(self) -> bool:
        busy = self._renames is not None or self._settling or self._protecting or self._late
        return not busy and not self._links.has_waiting and self.tree.is_done

    @property
    def progress(self) -> Progress:
        return self.desk.progress

    def ask_here(self, make: Callable[[int], Effect], then: Callable[..., None]) -> None:
        self.desk.ask_here(make, then)

    def answer(self, number: int, *values: object) -> None:
        self.desk.answer(number, *values)
        self.pump()

    def answered(self, message: Answer) -> None:
        self.desk.answered(message)
        self.pump()

    def tick(self, now_s: float) -> None:
        self.desk.refill(now_s)
        if now_s >= self._late_until_s:
            self._late_until_s = now_s + LATE_S
            late, self._late = self._late, []
            for each in late:
                if isinstance(each, Node):
                    self.tree.push(each)
                else:
                    self._add(each)
        self.pump()

    def done(self, seq: int) -> None:
        """The secondary has applied all up to this number."""
        self.desk.slots.done(seq)
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
            self.tree.add(change.existing, set())
        elif isinstance(change, changes.MakeFile | changes.MakeDirectory | changes.MakeNode | changes.MakeSymlink):
            self.tree.touched(change.path)
        elif isinstance(change, changes.Bind | changes.SetAttributes | changes.SetXattr | changes.RemoveXattr):
            self.named(change.path)

    def named(self, path: bytes) -> None:
        """A live change means the file at this path, which may be another one there."""
        if len(self._named) < MAX_NAMED:
            self._named[path] = None

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
        if isinstance(change, changes.Allocate) and change.mode == KEEP_SIZE and error not in _EXPECTED:
            self.desk.may_reserve = False
        for path in self._paths(change, [each for each in later if isinstance(each, Rename)]):
            if path is not None and self._is_copied_after(seq, path):
                continue
            if error in _EXPECTED:
                self._add(path)
            else:
                self.postpone(path, error)
        self.pump()

    def postpone(self, what: Node | bytes | None, error: int) -> None:
        if not self._late:
            where = _told(what.path if isinstance(what, Node) else what)
            why = _WHY.get(error) or os.strerror(error)
            until = "it is tried again, and until then the other node is not up to date"
            self.desk.stream.emit(Report("postponed", f"{where} cannot be compared now: {why}; {until}"))
        self._late = [*self._late, what] if len(self._late) < MAX_LATE else [None]

    def _is_copied_after(self, seq: int, path: bytes) -> bool:
        """Whether what was missed is part of what is copied anyway."""
        job = self.tree.job(path)
        return isinstance(job, FileCopy) and job.brings(seq)

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
                yield self.desk.stream.live_slots.path(change.slot)
                return
            paths: tuple[bytes, ...] = (self.desk.slots.paths[change.slot],)
        else:
            paths = (change.old, change.new) if isinstance(change, Rename) else (change.path,)
        for path in paths:
            now = path
            for rename in renames:
                now = moved(now, rename)
            yield now

    # going on

    def pump(self) -> None:
        if self._renames is not None:
            return
        self._find_links()
        for job in tuple(self._running):
            job.pump()
        self._start_files()
        while self._paused and self.has_room:
            self._paused.popleft().go_on()
        self._pages = [page for page in self._pages if not page.is_over]
        while len(self._pages) < DIRECTORIES_AT_ONCE and self.has_room:
            node = self.tree.pop()
            if node is None:
                break
            if node.has_work:
                self._pages.append(Page(self, node))
                self._pages[-1].begin()
            else:
                self._leave(node)

    def _find_links(self) -> None:
        paths = self._links.found()
        if not paths and self._links.has_waiting and self.tree.is_done and not self._protecting:
            paths = self._links.complete()
            if not paths and self._links.search():
                self.tree.scan()
            elif not paths:
                paths = self._links.all()
        for path in paths:
            self.tree.add(path)

    @property
    def has_room(self) -> bool:
        return self.desk.stream.has_room() and len(self._waiting) < MAX_WAITING_FILES

    def pause(self, page: Page) -> None:
        self._paused.append(page)

    def _start_files(self) -> None:
        while self._waiting and len(self._running) < FILES_AT_ONCE and self.desk.may_copy:
            job = self._waiting.popleft()
            if job.is_over:
                continue
            self._running[job] = None
            if not job.start():  # all slots wait for what the secondary has not applied yet
                del self._running[job]
                self._waiting.appendleft(job)
                break

    def _leave(self, node: Node) -> None:
        """Everything beneath it is done."""
        if node.changed:
            node.changed = False
            self._settle(node, b"", UNREADABLE)
        elif node.purge:
            self._purge(node)
        else:
            self.tree.detach(node)

    def _purge(self, node: Node) -> None:
        """It is empty there now; it goes, if there is still none here."""
        self._settling += 1

        def looked(error: int, _: Sequence[Entry]) -> None:
            self._settling -= 1
            node.purge = False
            if error in ABSENT and node.is_idle and not node.is_gone:
                self.put(changes.Remove(node.path, True))
                self._mark_changed(node.parent)
                self.tree.add(node.path)
            self.tree.push(node)

        path = node.path
        self.desk.ask_here(lambda number: EntriesHere(number, path, ()), looked)


def _told(path: bytes | None) -> str:
    if path is None:
        return "something"
    text = os.fsdecode(path)
    if len(text) > 2 * _TOLD:
        text = f"{text[:_TOLD]}…{text[-_TOLD:]}"
    return repr(text) if text else "the directory itself"
