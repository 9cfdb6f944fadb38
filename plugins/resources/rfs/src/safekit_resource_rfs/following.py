"""What a secondary is, and its barriers: what has to be on its disk before it says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, unique
from functools import partial
from itertools import count
from typing import Final

from safekit_resource_rfs.effects import Disconnect, Effect, Report, Send, SyncAll
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.messages import (
    Alive,
    Done,
    Failed,
    FromPrimary,
    FromSecondary,
    Numbered,
    Pair,
    Paired,
    PrimaryHello,
    Stable,
)
from safekit_resource_rfs.stages import DEFAULTS, ONLY_SYNC, Limits
from safekit_resource_rfs.stores import DurableState, MarksLog, Step
from safekit_resource_rfs.window import Inbox

_LEAVES: Final = "it stops, and does not take over with what it has"
SLACK_CHANGES: Final = 4096
SLACK_BYTES: Final = 32 << 20
"""What a primary may send beyond its window: questions, binds, checkpoints."""


@unique
class Stage(Enum):
    APART = "apart"
    GREETING = "greeting"
    """Its hello is waited for."""
    CHOOSING = "choosing"
    """It is to say how it goes on."""
    SYNCING = "syncing"
    PAIRED = "paired"
    ENDING = "ending"
    """Out of date, and on its way to say so."""


class Following:
    """The state of a secondary, and what it waits for its disk with."""

    def __init__(self, durable: Durable, marks: Marks, session: str, limits: Limits = DEFAULTS) -> None:
        """`session`: fresh for each process and each time it becomes secondary, hex, at most 32 digits."""
        self.limits = limits
        self._session = session
        self._ids = count(1)
        self._effects: deque[Effect] = deque()
        self._inbox = Inbox(limits.window_changes + SLACK_CHANGES, limits.window_bytes + SLACK_BYTES)
        self._blocks = 0
        """Things that have to be done before the next message is looked at."""
        self._turn = 0
        """Counts connections: what belongs to an earlier one is not answered."""
        self._state = DurableState(durable, self._effects.append, self._ids)
        self._log = MarksLog(marks, self._effects.append, self._ids)
        self._stage = Stage.APART
        self._hello = PrimaryHello(0, "", Durable())
        self._followed = ""
        """The stream of which it has everything up to `applied`."""
        self._stream = ""
        self._applied = 0
        self._said_done = 0
        self._misses = 0
        self._is_awaited = True
        """Each Done is; see Begin."""
        self._changes: dict[int, Numbered] = {}
        self._syncing: dict[int, Callable[[int], None]] = {}
        """What follows, told of the error, by the number of a SyncAll."""
        self._checkpointed = ONLY_SYNC
        self._resolving: tuple[int, int] | None = None
        self._syncs: dict[int, tuple[int, int]] = {}
        """Turn and number in its stream, of each Sync that is under way. Streams begin anew: a number alone may mean an
        earlier one."""
        self._insists = False
        """Nothing that is there is replaced before it is kept aside, whatever the primary says."""
        self.is_failing = False
        """What has to be durable cannot be written: nothing is confirmed, until it is."""
        self._retry_s = 0.0
        self._now_s = self._heard_s = self._said_s = 0.0

    @property
    def durable(self) -> Durable:
        return self._state.value

    @property
    def place(self) -> tuple[str, str, int]:
        """Its session, the stream of which it has everything, and the last number of it."""
        return self._session, self._followed, self._applied

    def take_over(self, followed: str, applied: int) -> None:
        """Another program followed it until now, in this session."""
        self._followed, self._applied = followed, applied

    @property
    def marks(self) -> Marks:
        return self._log.marks

    distrusts_cache = True
    """Comparisons look at what the disk has."""

    @property
    def is_paired(self) -> bool:
        return self._stage is Stage.PAIRED

    @property
    def is_ending(self) -> bool:
        return self._stage is Stage.ENDING

    def _send(self, message: FromSecondary) -> None:
        self._said_s = self._now_s
        self._effects.append(Send(message))

    def _report(self, event: str, text: str) -> None:
        self._effects.append(Report(event, text))

    def connected(self, now_s: float) -> None:
        self._now_s = self._heard_s = self._said_s = now_s
        self._turn += 1
        self._stage = Stage.GREETING

    def disconnected(self, now_s: float) -> None:
        self._now_s = now_s
        self._turn += 1
        self._inbox.clear()
        self._stage = Stage.APART

    def _drop(self, reason: str) -> None:
        self._effects.append(Disconnect(reason))
        self.disconnected(self._now_s)

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        if self.is_failing and now_s >= self._retry_s:
            self._retry_s = now_s + self.limits.timeout_s / 4
            self._state.retry()
            self._log.retry()
        if self._stage is Stage.APART:
            return
        if now_s - self._heard_s > self.limits.timeout_s:
            self._drop(f"the primary was silent for {self.limits.timeout_s:g} s")
        elif now_s - self._said_s >= self.limits.timeout_s / 4:
            self._send(Alive())

    def received(self, message: FromPrimary, now_s: float) -> None:
        self._now_s = self._heard_s = now_s
        if self._stage in (Stage.APART, Stage.ENDING) or isinstance(message, Alive):
            return
        if not self._inbox.add(message):
            self._drop("more changes are on their way than a window has")

    def _fail(self, seq: int, errno: int, text: str) -> None:
        """It lacks something that it said it would have."""
        self._report("failed", f"this node is out of date: {text} (error {errno})")
        self._end(Durable.behind, Failed(seq, errno, text), "this node could not apply a change")

    def leave(self) -> None:
        """It stops. Its primary goes on without it, as soon as it is on record here that it may have."""
        if self._stage is Stage.PAIRED:
            self._end(Durable.leaving, Failed(self._applied, 0, _LEAVES), "this node stops")

    def _end(self, step: Step, told: Failed, reason: str) -> None:
        """The connection, when it is durable what this node is from now on."""
        self._followed = ""
        self._inbox.clear()
        turn, was_there = self._turn, self._stage is not Stage.APART
        if was_there:
            self._stage = Stage.ENDING

        def is_known() -> None:
            if turn == self._turn and was_there:
                self._send(told)
                self._drop(reason)

        self._state.change(step, is_known)

    def _sync_all(self, then: Callable[[int], None]) -> None:
        """Of all that is applied."""
        number = next(self._ids)
        self._syncing[number] = then
        self._effects.append(SyncAll(number))

    def synced_all(self, number: int, errno: int) -> None:
        then = self._syncing.pop(number, None)
        if then is not None:
            then(errno)

    def _begin_checkpoint(self, number: int) -> None:
        if number != ONLY_SYNC and not self._log.is_clearing:
            self._log.marks.begin_checkpoint()
            self._checkpointed = number
        self._sync_all(partial(self._is_stable, number, self._turn))

    def _is_stable(self, number: int, turn: int, errno: int) -> None:
        if errno:
            self._disk_failed(self._applied, errno)
        elif turn != self._turn:
            return
        elif number == ONLY_SYNC:
            self._send(Stable(number))
        else:
            tell = partial(self._tell_stable, number, turn)
            self._state.change(lambda before: replace(before, stable=number), tell)

    def _disk_failed(self, seq: int, errno: int) -> None:
        """What a disk refused is clean in the cache, and no later sync speaks of it again: whatever the disk has may
        differ, until all of it was compared."""
        self._log.mark_everything()
        self._fail(seq, errno, "the disk refused to sync")

    def _tell_stable(self, number: int, turn: int) -> None:
        if turn == self._turn:
            self._send(Stable(number))

    def _clear(self, number: int) -> None:
        """Both disks have what was marked before the checkpoint."""
        if self._log.is_clearing or self._checkpointed != number or self.durable.stable != number:
            return
        since = self.durable.generation.id

        def cleared(before: Durable) -> Durable:
            return replace(before, cleared=number, marks_since=since)

        self._state.change(cleared, lambda: self._log.clear(lambda: None))

    def _pair(self, message: Pair) -> None:
        if self._stage is not Stage.SYNCING:
            refuse("Pair at the wrong time")
        if self._applied > self._said_done:
            self._say_done()
        if message.misses != self._misses:
            self._send(Paired(False))
            return
        self._blocks += 1
        self._sync_all(partial(self._has_all, message, self._turn))

    def _has_all(self, pair: Pair, turn: int, errno: int) -> None:
        if errno or turn != self._turn or self._stage is not Stage.SYNCING:
            self._blocks -= 1
            if errno:
                self._disk_failed(self._applied, errno)
            return
        self._state.change(lambda before: before.with_all(pair.generation, pair.cleared), partial(self._is_up, turn))

    def _is_up(self, turn: int) -> None:
        self._blocks -= 1
        if self._stage is Stage.ENDING:
            return
        self._followed = self._stream
        if self._log.marks.everything:
            self._report("mended", "all that this node's disk has was compared")
        self._log.marks.clear_found()
        if turn == self._turn:
            self._stage = Stage.PAIRED
            self._report("paired", "this node has everything")
            self._send(Paired(True))

    def stored(self, number: int) -> None:
        self._state.stored(number)
        self._is_written()

    def marks_stored(self, number: int) -> None:
        self._log.stored(number)
        self._is_written()

    def store_failed(self, text: str) -> None:
        """It is tried again. Until then no message is looked at, so that nothing is confirmed that may rely on it."""
        self._retry_s = self._now_s + self.limits.timeout_s / 4
        if self.is_failing:
            return
        self.is_failing = True
        self._blocks += 1
        self._report("disk", f"what has to be durable could not be written: {text}")
        if self._stage is not Stage.APART:
            self._drop("this node cannot write what has to be durable")

    def _is_written(self) -> None:
        if self.is_failing and not self._state.is_busy and not self._log.is_busy:
            self.is_failing = False
            self._blocks -= 1
            self._report("mended", "what has to be durable can be written again")

    def _say_done(self) -> None:
        self._said_done = self._applied
        self._send(Done(self._applied))
