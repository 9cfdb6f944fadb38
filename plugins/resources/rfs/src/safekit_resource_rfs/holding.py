"""What a primary may acknowledge, and the stream of its changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from safekit_resource_rfs.changes import Change, Sync, SyncDirectory
from safekit_resource_rfs.desk import Progress
from safekit_resource_rfs.effects import Effect, Release, Send, Wake
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks, Place
from safekit_resource_rfs.messages import Numbered
from safekit_resource_rfs.resync import Resync
from safekit_resource_rfs.slots import LiveSlots
from safekit_resource_rfs.stages import DEFAULTS, Gate, Limits, Link, Mode, Role, State
from safekit_resource_rfs.stores import DurableState, MarksLog
from safekit_resource_rfs.window import Window


class Holding:
    """Acknowledging: alone, or not before the secondary has it."""

    def __init__(self, durable: Durable, marks: Marks, mode: Mode, stream: str, limits: Limits = DEFAULTS) -> None:
        """`stream`: fresh for each process and each time it becomes primary, hex, at most 32 digits."""
        self.mode = mode
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
        self._may_pair = False
        """The secondary may be made up to date when it has everything."""
        self._is_standing = False
        """A new generation is on its way to the disk."""
        self._window = Window(limits.window_changes, limits.window_bytes)
        self._answers: deque[tuple[int, Any]] = deque()
        self._syncs: dict[int, tuple[Any, float]] = {}
        """Token and time by number."""
        self._syncs_at_barrier: list[Any] = []
        """To be answered when the secondary's disk has everything."""
        self._barrier: int | None = None
        """Number of the checkpoint that answers them; None: Paired does."""
        self.is_broken = False
        """Something that has to be durable could not be written: until the role ends nothing is modified."""
        self._has_waiting = False
        self._resync: Resync | None = None
        self._aside = False
        self._now_s = 0.0
        self._said_s = 0.0

    @property
    def durable(self) -> Durable:
        return self._state.value

    @property
    def distrusts_cache(self) -> bool:
        """Comparisons look at what the disk has. An application needs the cache of a disk that did not fail."""
        return self._log.marks.everything

    @property
    def role(self) -> Role:
        return self._role

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

    @property
    def may_pair(self) -> bool:
        return self._may_pair

    @property
    def place(self) -> tuple[str, int, bool]:
        """Its stream, the number of its next change, and whether it acknowledges nothing alone."""
        return self._stream, self._window.next_seq, self._held

    def take_over(self, next_seq: int, *, held: bool) -> None:
        """Another program was primary with this stream until now, and nothing of it is on its way."""
        self._role = Role.PRIMARY
        self._held = held
        self._window.go_on_at(next_seq)

    # the file system

    def touch(self, places: Iterable[Place], now_ns: int) -> Gate:
        """Before a modification. `now_ns`: the wall clock."""
        if self.is_broken:
            return Gate.FAILED
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

    def differ(self, places: Iterable[Place] | None, now_ns: int) -> None:
        """What a verification found; the next resynchronisation compares it, whenever that is. None: everything, as it
        found more than it tells."""
        self._log.add_found(places, now_ns)

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
        return self._held and (self._awaits_done or self._link is not Link.STREAM)

    @property
    def _awaits_done(self) -> bool:
        return self.mode is Mode.WRITE

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
            self._said_s = self._now_s
            self.emit(Send(Numbered(seq, change, self._aside), self._is_awaited(change)))
        return seq

    def _is_awaited(self, change: Change) -> bool:
        """Whether anybody waits for the secondary to have it, or for room that this takes."""
        return self._must_wait or self._link is not Link.STREAM or isinstance(change, Sync | SyncDirectory)

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
