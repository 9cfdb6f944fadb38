"""The primary's side of the replication: what it may acknowledge, and what its secondary is told.

Pure: methods change the state and queue effects, which `drain` hands out. Call it after each method, on the thread that
executes the modifications, and let nothing else happen before it has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, unique
from functools import partial
from itertools import count
from typing import Any, Final

from safekit_resource_rfs.changes import Change, Entry, Sync, SyncDirectory
from safekit_resource_rfs.desk import Progress
from safekit_resource_rfs.effects import (
    Disconnect,
    Effect,
    HandleHere,
    Release,
    Report,
    ResolveMarks,
    Send,
    SyncAll,
    Wake,
)
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.generations import Durable, Standing, Verdict, judge, plan
from safekit_resource_rfs.marks import WHOLE, Marks, Place
from safekit_resource_rfs.messages import (
    VERSION,
    Alive,
    Begin,
    Checkpoint,
    Checksummed,
    Cleared,
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
from safekit_resource_rfs.slots import LiveSlots
from safekit_resource_rfs.stores import DurableState, MarksLog
from safekit_resource_rfs.window import Window
from safekit_sdk import PeerError

PATIENCE: Final = 3
ONLY_SYNC: Final = 0
"""Number of a checkpoint that clears nothing."""


@unique
class Mode(Enum):
    WRITE = "write"
    ORDERED = "ordered"
    WRITEBACK = "writeback"


@unique
class State(Enum):
    IDLE = "idle"
    ALONE = "alone"
    SYNCING = "syncing"
    PAIRED = "paired"
    HOLDING = "holding"


@unique
class Gate(Enum):
    """What `touch` says."""

    GO = "go"
    WAIT = "wait"
    """Ask again after the effect Wake."""
    REFUSED = "refused"
    """EROFS: it is not primary, or not any more."""


@unique
class Role(Enum):
    IDLE = "idle"
    PRIMARY = "primary"
    LEAVING = "leaving"


@unique
class Link(Enum):
    NONE = "none"
    GREETING = "greeting"
    SYNCING = "syncing"
    PAIRING = "pairing"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Limits:
    window_changes: int = 4096
    window_bytes: int = 64 << 20
    timeout_s: float = 5.0
    """A peer that says nothing for so long is dropped."""
    stall_s: float = 20.0
    """A peer that speaks, but does not do its work for so long, is dropped too."""
    resync_bytes_per_s: float = 0.0
    """0: no limit."""
    checkpoint_s: float = 30.0


DEFAULTS: Final = Limits()


class Sender:
    def __init__(self, durable: Durable, marks: Marks, mode: Mode, stream: str, limits: Limits = DEFAULTS) -> None:
        """`stream`: fresh for each process and each time it becomes primary, hex, at most 32 digits."""
        self.mode = mode
        self.record_times: Callable[[], None] = _nothing
        """Called before marks are on their way out: whatever the file system put off (times of modification) has to be
        recorded then. It needs no touch: what was modified is marked."""
        self.limits = limits
        self.live_slots = LiveSlots()
        self._stream = stream
        self._ids = count(1)
        self._effects: deque[Effect] = deque()
        self._state = DurableState(durable, self.emit, self._ids)
        self._log = MarksLog(marks, self.emit, self._ids)
        self._role = Role.IDLE
        self._link = Link.NONE
        self._held = False
        """The secondary may be up to date: nothing is acknowledged without it."""
        self._was_held = False
        """Before Pair was sent."""
        self._is_standing = False
        """A new generation is on its way to the disk."""
        self._may_pair = False
        self._allows_unrelated = False
        self._wants_full = False
        self._wants_comparison = False
        """Also of a secondary that could go on where it was."""
        self._window = Window(limits.window_changes, limits.window_bytes)
        self._answers: deque[tuple[int, Any]] = deque()
        self._syncs: dict[int, tuple[Any, float]] = {}
        """Token and time by number."""
        self._syncs_at_barrier: list[Any] = []
        """To be answered when the secondary's disk has everything."""
        self._barrier: int | None = None
        """Number of the checkpoint that answers them; None: Paired does."""
        self._has_waiting = False
        self._resync: Resync | None = None
        self._aside = False
        self._pair_pending = False
        self._is_flushed = False
        """The secondary has synced everything that the resync brought."""
        self._misses = 0
        self._checkpoint: tuple[int, int, bool, bool] | None = None
        """Its number, that of the SyncAll, whether the secondary and this disk have it."""
        self._peer_stable = 0
        self._now_s = 0.0
        self._heard_s = 0.0
        self._said_s = 0.0
        self._checkpoint_s = 0.0
        self._link_s = 0.0
        self._left_to_mark: set[str] = set()
        self._resolving = 0

    # what it is

    @property
    def durable(self) -> Durable:
        return self._state.value

    @property
    def role(self) -> Role:
        return self._role

    @property
    def is_calm(self) -> bool:
        """Nothing is on its way to the secondary."""
        return self._window.is_empty and self._checkpoint is None

    @property
    def marks(self) -> Marks:
        return self._log.marks

    @property
    def state(self) -> State:
        if self._role is Role.IDLE:
            return State.IDLE
        if self._held:
            return State.PAIRED if self._link is Link.STREAM else State.HOLDING
        return State.SYNCING if self._link in (Link.SYNCING, Link.PAIRING) else State.ALONE

    @property
    def progress(self) -> Progress | None:
        return self._resync.progress if self._resync is not None else None

    @property
    def lag(self) -> tuple[int, int]:
        """Changes and bytes that the secondary has not confirmed."""
        return self._window.lag

    @property
    def is_connected(self) -> bool:
        return self._link is not Link.NONE

    def drain(self) -> Iterator[Effect]:
        while self._effects:
            yield self._effects.popleft()

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)

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
        """The other node will not take over with what it has."""
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
        """What an operator asked for, for the next connection: to overwrite data that have nothing to do with these (they
        are kept aside), to compare everything."""
        self._allows_unrelated, self._wants_full, self._wants_comparison = unrelated, full, True

    def demote(self) -> None:
        """No more modifications. What is recorded still goes to the secondary, then a checkpoint; then
        Report("demoted")."""
        self._role = Role.LEAVING
        self._wake()
        self._leave()

    def _leave(self) -> None:
        if self._role is not Role.LEAVING:
            return
        if self._link is Link.STREAM and not (self._window.is_empty and self._checkpoint is None):
            return
        marks = self._log.marks
        if self._link is Link.STREAM and (marks.count or marks.everything) and self.checkpoint():
            return
        self._role = Role.IDLE
        self.emit(Report("demoted", "nothing is modified any more"))
        self._drop("this node is not primary any more")

    # the file system

    def touch(self, places: Iterable[Place], now_ns: int) -> Gate:
        """Before a modification. `now_ns`: the wall clock."""
        if self._role is not Role.PRIMARY:
            return Gate.REFUSED if self._role is Role.LEAVING or not self._state.is_busy else self._wait()
        places = tuple(places)
        if not self._log.touch(places, now_ns) or (self._keeps and self._window.is_full):
            return self._wait()
        if self._resync is not None:
            self._resync.touch(places)
        return Gate.GO

    def _wait(self) -> Gate:
        self._has_waiting = True
        return Gate.WAIT

    @property
    def _keeps(self) -> bool:
        """Whether changes are kept until the secondary has them."""
        return self._link in (Link.SYNCING, Link.PAIRING, Link.STREAM) or (self._held and self._can_resume)

    @property
    def _can_resume(self) -> bool:
        return self._resync is None and self._held and not self._is_standing

    def cover(self, *places: Place) -> None:
        """marks.Marks.cover: these were just created in a marked directory."""
        self._log.marks.cover(*places)

    def record(self, change: Change, token: Any) -> bool:
        """After the modification. False: `token` comes with a Release when the application may be answered."""
        self.live_slots.observe(change)
        if self._resync is not None:
            self._resync.observe(change)
        seq = self.put(change)
        if not self._must_wait:
            return True
        self._answers.append((seq, token))
        return False

    @property
    def _must_wait(self) -> bool:
        return self._held and (self.mode is Mode.WRITE or self._link is not Link.STREAM)

    def synced(self, change: Sync | SyncDirectory, token: Any) -> None:
        """An application waits for the disks; the own one is the caller's."""
        if not self._held:
            self.emit(Release((token,)))
        elif self._link is Link.SYNCING or not self._keeps:
            self._syncs_at_barrier.append(token)
        else:
            self._syncs[self.put(change)] = (token, self._now_s)

    # the stream

    def put(self, change: Change) -> int:
        if not self._keeps:
            return self._window.number()
        seq = self._window.add(change, self._now_s)
        if self._link in (Link.SYNCING, Link.PAIRING, Link.STREAM):
            self._send(Numbered(seq, change, self._aside))
        return seq

    def has_room(self) -> bool:
        return not self._window.is_half_full

    def _send(self, message: Any) -> None:
        self._said_s = self._now_s
        self.emit(Send(message))

    def _wake(self) -> None:
        if self._has_waiting:
            self._has_waiting = False
            self.emit(Wake())

    def _release_done(self) -> None:
        """In the order of the changes."""
        if self._held and self._link is not Link.STREAM:
            return
        tokens: list[Any] = []
        while self._answers and (not self._held or self._answers[0][0] <= self._window.done_seq):
            tokens.append(self._answers.popleft()[1])
        if tokens:
            self.emit(Release(tuple(tokens)))

    def _release_all(self) -> None:
        self._syncs_to_barrier()
        self._release_done()
        self._release_barrier()
        self._wake()

    def _syncs_to_barrier(self, up_to: float = float("inf")) -> None:
        """What was asked of the secondary's disk and may never be answered."""
        for seq in [seq for seq in self._syncs if seq <= up_to]:
            self._syncs_at_barrier.append(self._syncs.pop(seq)[0])

    def _release_barrier(self) -> None:
        tokens, self._syncs_at_barrier = tuple(self._syncs_at_barrier), []
        self._barrier = None
        if tokens:
            self.emit(Release(tokens))

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

    def _drop(self, reason: str) -> None:
        if self._link is not Link.NONE:
            self.emit(Disconnect(reason))
        self._lost()

    def disconnected(self, now_s: float) -> None:
        self._now_s = now_s
        self._lost()

    def _lost(self) -> None:
        was, self._link = self._link, Link.NONE
        self._pair_pending = False
        if was is Link.NONE:
            return
        self._abort_checkpoint()
        self._barrier = None
        if self._resync is not None and was is Link.SYNCING:
            self._syncs_to_barrier()
            self._window.clear()
        elif not self._held:
            self._window.clear()
        self._resync = None
        self._wake()
        self._leave()
        self.emit(Report("disconnected", f"the connection ended; this node is {self.state.value}"))

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
            self.emit(Report("failed", f"the secondary is out of date: {message.text} (error {message.errno})"))
            self._drop("the secondary failed")
        else:
            self._received_while_syncing(message)

    def _received_while_syncing(self, message: FromSecondary) -> None:
        resync = self._resync
        if resync is None:
            refuse(f"{type(message).__name__} without a resync")
        if isinstance(message, MarksPage):
            resync.mark(message.directories, here=False)
            if message.everything:
                resync.add_everything()
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
        self._send(Begin(Resume.STREAM, applied + 1, False))
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
        self._send(Begin(resume, self._window.next_seq, aside))
        limit = self.limits.resync_bytes_per_s
        self._resync = Resync(self, self._ids, self._protect, aside=aside, bytes_per_s=limit)
        self._left_to_mark = {"here", "there"}
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

    def marks_resolved(self, number: int, directories: Sequence[Marked]) -> None:
        if self._resync is not None and number == self._resolving:
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
            self._link = Link.STREAM
            self._resync = None
            self._aside = False
            self._release_barrier()
            self._release_done()
            self._checkpoint_s = self._now_s - self.limits.checkpoint_s
            self.emit(Report("paired", "the secondary has everything"))
            return
        self._link = Link.SYNCING
        self._held = self._was_held
        if not self._held:
            self._state.change(lambda before: replace(before, paired=False), lambda: None)
            self._release_all()

    # checkpoints

    def checkpoint(self) -> bool:
        """Begin one now, where it is possible; by itself it does so every checkpoint_s."""
        if self._link is not Link.STREAM or self._checkpoint is not None or self._log.is_clearing:
            return False
        self._checkpoint_s = self._now_s
        self.record_times()
        number = max(self.durable.stable, self._peer_stable) + 1
        sync_number = next(self._ids)
        self._log.marks.begin_checkpoint()
        self._checkpoint = (number, sync_number, False, False)
        if self._syncs_at_barrier:
            self._barrier = number
        self._send(Checkpoint(number))
        self.emit(SyncAll(sync_number))
        return True

    def _peer_is_stable(self, number: int) -> None:
        if number == ONLY_SYNC:
            self._pair_pending = False
            self._is_flushed = True
            return
        self._peer_stable = max(self._peer_stable, number)
        if self._barrier == number:
            self._release_barrier()
        if self._checkpoint is not None and self._checkpoint[0] == number:
            self._checkpoint = (number, self._checkpoint[1], True, self._checkpoint[3])
            self._finish_checkpoint()

    def synced_all(self, number: int, errno: int) -> None:
        if self._checkpoint is None or self._checkpoint[1] != number:
            return
        if errno:
            self.emit(Report("disk", f"the own disk could not be synced: error {errno}"))
            self._abort_checkpoint()
            self._drop("the own disk fails")
            return
        self._checkpoint = (*self._checkpoint[:3], True)
        self._finish_checkpoint()

    def _finish_checkpoint(self) -> None:
        if self._checkpoint is None or not all(self._checkpoint[2:]):
            return
        number = self._checkpoint[0]
        self._checkpoint = (number, 0, False, False)
        since = self.durable.generation.id

        def cleared(before: Durable) -> Durable:
            return replace(before, stable=number, cleared=number, marks_since=since)

        self._state.change(cleared, partial(self._clear, number))

    def _clear(self, number: int) -> None:
        if self._checkpoint is None or self._checkpoint[0] != number:
            return
        self._log.clear(partial(self._cleared, number))

    def _cleared(self, number: int) -> None:
        self._checkpoint = None
        if self._link is Link.STREAM:
            self._send(Cleared(number))
        self._leave()

    def _abort_checkpoint(self) -> None:
        if self._checkpoint is not None:
            self._log.marks.abort_checkpoint()
        self._checkpoint = None

    # answers to effects

    def stored(self, number: int) -> None:
        self._state.stored(number)
        self._go_on()

    def store_failed(self, text: str) -> None:
        """Nothing that needed it goes on."""
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

    def data_read(self, number: int, errno: int, extents: Sequence[tuple[int, bytes]]) -> None:
        self._answer(number, errno, extents)

    def xattrs_read(self, number: int, errno: int, values: Mapping[bytes, bytes]) -> None:
        self._answer(number, errno, values)

    def _answer(self, number: int, *values: Any) -> None:
        if self._resync is not None:
            self._resync.answer(number, *values)
            self._go_on()


def _nothing() -> None:
    """Nothing was put off."""
