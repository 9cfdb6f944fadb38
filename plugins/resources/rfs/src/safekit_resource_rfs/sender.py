"""The primary's side of the replication: what it may acknowledge, and what its secondary is told.

Pure: methods change the state and queue effects, which `drain` hands out. Call it after each method, on the thread that
executes the modifications, and let nothing else happen before it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.checkpoints import Checkpointing
from safekit_resource_rfs.desk import Progress
from safekit_resource_rfs.effects import HandleHere, Release, Report, ResolveMarks
from safekit_resource_rfs.extents import Extent
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.generations import Durable, Standing, Verdict, judge, plan
from safekit_resource_rfs.marked import Allowance
from safekit_resource_rfs.marks import WHOLE, Marks, Place
from safekit_resource_rfs.messages import (
    VERSION,
    Alive,
    Begin,
    Checkpoint,
    Checksummed,
    Done,
    Failed,
    FromSecondary,
    Listed,
    Marked,
    MarksPage,
    Missed,
    Numbered,
    Pair,
    Paired,
    PrimaryHello,
    Resume,
    SecondaryHello,
    Stable,
    Synced,
    XattrsListed,
)
from safekit_resource_rfs.resync import Resync
from safekit_resource_rfs.stages import DEFAULTS, ONLY_SYNC, PATIENCE, Gate, Limits, Link, Mode, Role, State
from safekit_sdk import PeerError

__all__ = ["DEFAULTS", "ONLY_SYNC", "Gate", "Limits", "Link", "Mode", "Role", "Sender", "State"]


class Sender(Checkpointing):
    def __init__(self, durable: Durable, marks: Marks, mode: Mode, stream: str, limits: Limits = DEFAULTS) -> None:
        """`stream`: fresh for each process and each time it becomes primary, hex, at most 32 digits."""
        super().__init__(durable, marks, mode, stream, limits)
        self._was_held = False
        """Before Pair was sent."""
        self._allows_unrelated = False
        self._wants_full = False
        self._wants_comparison = False
        """Also of a secondary that could go on where it was."""
        self._misses = 0
        self._heard_s = 0.0
        self._link_s = 0.0
        self._left_to_mark: set[str] = set()
        self._allowance = Allowance()
        self._resolving = 0

    # the engine

    def promote(self, epoch: int, new_id: str, *, alone: bool) -> None:
        """`alone`: may acknowledge without the other node. Else it holds until the other has everything."""
        durable = self.durable
        if not alone and durable.standing is not Standing.UP:
            self.emit(Report("refused", "this node may lack data, and can become primary only alone, by force"))
            return
        if alone or not (durable.paired and durable.up_to_date):
            self._state.change(lambda before: before.alone(new_id, epoch), partial(self._promoted, False))
            return

        def with_epoch(before: Durable) -> Durable:
            return replace(before, generation=replace(before.generation, epoch=epoch), primary=True)

        self._state.change(with_epoch, partial(self._promoted, True))

    def _promoted(self, held: bool) -> None:
        self._role = Role.PRIMARY
        self._held = held
        self.emit(Report("promoted", "holds until the other node has everything" if held else "acknowledges alone"))
        self._wake()

    def stand_alone(self, epoch: int, new_id: str) -> None:
        """The other node will not take over with what it has. Nothing happens while it is broken."""
        if self.is_broken:
            return
        self._is_standing = True
        self._may_pair = False
        self._drop("this node goes on alone")
        self._state.change(lambda before: before.alone(new_id, epoch), self._stands_alone)

    def _stands_alone(self) -> None:
        self._is_standing = False
        self._held = False
        self._window.clear()
        self._release_all()
        self.emit(Report("alone", "a new generation begins; this node acknowledges alone"))
        if self._link is Link.GREETING:
            self._greet()

    def pair(self) -> None:
        """The secondary may be made up to date when it has everything."""
        self._may_pair = True
        self._go_on()

    def allow(self, *, unrelated: bool = False, full: bool = False) -> None:
        """What an operator asked for, for the next connection: to overwrite data that have nothing to do with these
        (they are kept aside), to compare everything."""
        self._allows_unrelated, self._wants_full, self._wants_comparison = unrelated, full, True

    # the connection

    def connected(self, now_s: float) -> None:
        self._now_s = self._heard_s = self._said_s = self._link_s = now_s
        if self._role is Role.IDLE:
            self._drop("this node is not primary")
            return
        self._link = Link.GREETING
        if not self._is_standing:
            self._greet()

    def _greet(self) -> None:
        self._send(PrimaryHello(VERSION, self._stream, self.durable))

    def tick(self, now_s: float) -> None:
        """Four times in timeout_s or more often."""
        self._now_s = now_s
        if self._link is Link.NONE:
            return
        if now_s - self._heard_s > self.limits.timeout_s:
            self._drop(f"the secondary was silent for {self.limits.timeout_s:g} s")
            return
        if self._is_stalled(now_s):
            self._drop("the secondary speaks, and does not do its work")
            return
        if now_s - self._said_s >= self.limits.timeout_s / 4:
            self._send(Alive())
        if self._resync is not None:
            self._resync.tick(now_s)
        if self._link is Link.STREAM and now_s - self._checkpoint_s >= self.limits.checkpoint_s:
            self.checkpoint()
        self._go_on()

    def _is_stalled(self, now_s: float) -> bool:
        """Looking for marks, and syncing everything, may take it longer."""
        limit_s = self.limits.stall_s * (1 if self._link is Link.STREAM else PATIENCE)
        since = [asked_s for _, asked_s in self._syncs.values()]
        if self._window.oldest_s is not None:
            since.append(self._window.oldest_s)
        return bool(since) and now_s - max(min(since), self._link_s) > limit_s

    def received(self, message: FromSecondary, now_s: float) -> None:
        self._now_s = self._heard_s = now_s
        if self._link is Link.NONE or isinstance(message, Alive):
            return
        try:
            self._receive(message)
        except PeerError as error:
            self.emit(Report("protocol", error.message))
            self._drop(error.message)
        self._go_on()

    def _receive(self, message: FromSecondary) -> None:
        if (self._link is Link.GREETING) is not isinstance(message, SecondaryHello):
            refuse(f"{type(message).__name__} at the wrong time")
        if isinstance(message, SecondaryHello):
            self._greeted(message)
        elif isinstance(message, Done):
            self._done(message.seq)
        elif isinstance(message, Synced):
            self._peer_synced(message.seq)
        elif isinstance(message, Stable):
            self._peer_is_stable(message.number)
        elif isinstance(message, Failed):
            event = "failed" if message.errno else "left"
            self.emit(Report(event, f"the secondary is out of date: {message.text} (error {message.errno})"))
            self._drop("the secondary failed")
        else:
            self._received_while_syncing(message)

    def _received_while_syncing(self, message: FromSecondary) -> None:
        resync = self._resync
        if resync is None:
            refuse(f"{type(message).__name__} without a resync")
        if isinstance(message, MarksPage):
            if message.everything or not self._allowance.takes(message.directories):
                resync.add_everything()
            else:
                resync.mark(message.directories, here=False)
            if message.last:
                self._marked("there")
        elif isinstance(message, Missed):
            later = [kept.change for kept in self._window.after(message.seq)]
            self._misses += 1
            resync.missed(message.seq, self._window.change(message.seq), message.errno, later)
        elif isinstance(message, Listed | Checksummed | XattrsListed):
            resync.answered(message)
        elif isinstance(message, Paired):
            self._paired(message.is_paired)
        else:
            refuse(f"{type(message).__name__} at the wrong time")

    def _greeted(self, hello: SecondaryHello) -> None:
        if hello.version != VERSION:
            refuse(f"it speaks version {hello.version}, this node {VERSION}")
        self._peer_stable = hello.durable.stable
        same = hello.durable.up_to_date and judge(self.durable.generation, hello.durable.generation) is Verdict.SAME
        follows = same and hello.stream == self._stream and not self._wants_comparison
        if self._held and follows and self._window.can_resume(hello.applied):
            self._resume(hello.applied)
            return
        chosen = plan(self.durable, hello.durable, full=self._wants_full)
        verdict = judge(self.durable.generation, hello.durable.generation)
        if chosen is None:
            self.emit(Report("outdated", "the other node has newer data than this one"))
            self._drop("the secondary has newer data")
        elif verdict is Verdict.UNRELATED and not self._allows_unrelated:
            self.emit(Report("unrelated", "the other node's data have no history in common with these"))
            self._drop("the secondary's data are unrelated")
        else:
            self._begin(Resume(chosen.comparison.value), chosen.aside)

    def _resume(self, applied: int) -> None:
        self._window.done(applied)
        self._aside = False
        self._link = Link.STREAM
        self._send(Begin(Resume.STREAM, applied + 1, False, self._awaits_done))
        for kept in self._window.after(applied):
            self._send(Numbered(kept.seq, kept.change))
        self._syncs_to_barrier(applied)
        self._release_done()
        self._wake()
        self.emit(Report("paired", "the secondary went on where it was"))
        self.checkpoint()

    def _begin(self, resume: Resume, aside: bool) -> None:
        self._syncs_to_barrier()
        self._window.clear()
        self._misses = 0
        self._is_flushed = False
        self._aside = aside
        self._link = Link.SYNCING
        self._wants_full = self._allows_unrelated = self._wants_comparison = False
        self._send(Begin(resume, self._window.next_seq, aside, self._awaits_done))
        limit = self.limits.resync_bytes_per_s
        self._resync = Resync(self, self._ids, self._protect, aside=aside, bytes_per_s=limit)
        self._left_to_mark = {"here", "there"}
        self._allowance = Allowance()
        for bind in tuple(self.live_slots.binds()):
            self._resync.named(bind.path)
            self.put(bind)
        everything = resume is Resume.FULL or self._log.marks.everything
        if everything:
            self._resync.add_everything()
        self._resolving = next(self._ids)
        self.emit(ResolveMarks(self._resolving, everything))
        self.emit(Report("syncing", f"the secondary is compared: {resume.value}"))
        self._wake()

    def _protect(self, directory: bytes, inode: int, then: Any) -> None:
        """Mark it as a whole, and go on when that is durable."""
        resync = self._resync
        assert resync is not None

        def handled(errno: int, handle: bytes) -> None:
            if errno:
                then()
            else:
                self._log.when_durable(Place(handle, inode, WHOLE), then)

        resync.ask_here(partial(HandleHere, path=directory), handled)

    def marks_resolved(self, number: int, directories: Sequence[Marked] | None) -> None:
        """None: they could not be looked up; everything is compared."""
        if self._resync is not None and number == self._resolving:
            if directories is None or self._log.marks.everything:
                self._resync.add_everything()
            else:
                self._resync.mark(directories, here=True)
            self._marked("here")
            self._go_on()

    def _marked(self, side: str) -> None:
        self._left_to_mark.discard(side)
        if not self._left_to_mark and self._resync is not None:
            self._resync.marks_are_complete()

    def _done(self, seq: int) -> None:
        self._window.done(seq)
        if self._resync is not None:
            self._resync.done(seq)
        self._release_done()
        if not self._window.is_full:
            self._wake()
        self._leave()

    def _peer_synced(self, seq: int) -> None:
        waiting = self._syncs.pop(seq, None)
        if waiting is not None:
            self.emit(Release((waiting[0],)))

    # pairing

    def _go_on(self) -> None:
        resync = self._resync
        if resync is None or self._link is not Link.SYNCING or not resync.is_done or self._pair_pending:
            return
        if not self._is_flushed:
            self._pair_pending = True
            self._send(Checkpoint(ONLY_SYNC))
        elif self._may_pair and not self._is_standing:
            self._pair_pending = True
            self._state.change(lambda before: replace(before, paired=True), partial(self._send_pair, resync))

    def _send_pair(self, resync: Resync) -> None:
        if self._resync is not resync:
            return
        self._pair_pending = False
        if not resync.is_done or not self._may_pair or self._is_standing:
            self._go_on()
            return
        self._was_held, self._held = self._held, True
        self._link = Link.PAIRING
        self._send(Pair(self.durable.generation, self._misses, self.durable.cleared))

    def _paired(self, is_paired: bool) -> None:
        if self._link is not Link.PAIRING:
            refuse("Paired without Pair")
        if is_paired:
            done = self.progress or Progress()
            self._log.marks.clear_found()
            self._link = Link.STREAM
            self._resync = None
            self._aside = False
            self._release_barrier()
            self._release_done()
            self._checkpoint_s = self._now_s - self.limits.checkpoint_s
            what = f"{done.files_done} files were compared, {done.bytes_sent} bytes copied"
            self.emit(Report("paired", f"the secondary has everything: {what}"))
            return
        self._link = Link.SYNCING
        self._held = self._was_held
        self._syncs_to_barrier()
        if not self._held:
            self._state.change(lambda before: replace(before, paired=False), lambda: None)
            self._release_all()

    # answers to effects

    def stored(self, number: int) -> None:
        self._state.stored(number)
        self._go_on()

    def store_failed(self, text: str) -> None:
        """Nothing that needed it goes on, and nothing is modified any more: what is not marked must not be."""
        self.is_broken = True
        self._log.marks.abort_append()
        self._wake()
        self._leave()
        self.emit(Report("disk", f"what has to be durable could not be written: {text}"))

    def marks_stored(self, number: int) -> None:
        if self._log.stored(number):
            self._wake()
        self._go_on()

    def names_read(self, number: int, errno: int, names: Sequence[bytes]) -> None:
        self._answer(number, errno, names)

    def entries_read(self, number: int, errno: int, entries: Sequence[Entry]) -> None:
        self._answer(number, errno, entries)

    def handle_read(self, number: int, errno: int, handle: bytes) -> None:
        self._answer(number, errno, handle)

    def checksummed(self, number: int, errno: int, digests: Sequence[bytes]) -> None:
        self._answer(number, errno, digests)

    def data_read(self, number: int, errno: int, extents: Sequence[Extent]) -> None:
        self._answer(number, errno, extents)

    def xattrs_read(self, number: int, errno: int, values: Mapping[bytes, bytes]) -> None:
        self._answer(number, errno, values)

    def _answer(self, number: int, *values: Any) -> None:
        if self._resync is not None:
            self._resync.answer(number, *values)
            self._go_on()
