"""The secondary's side of the replication: apply in order, say what is applied, and know whether it has everything.

Pure: methods change the state and queue effects. Call `drain` after each, on the thread that executes, and perform each
effect before the next is taken: what a change did decides what follows.
"""

from __future__ import annotations

import errno as numbers
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from safekit_resource_rfs.changes import Entry, Sync, SyncDirectory
from safekit_resource_rfs.effects import (
    Apply,
    ChecksumHere,
    Effect,
    ForgetSlots,
    ListHere,
    ResolveMarks,
    StartSync,
    XattrsHere,
)
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.following import SLACK_CHANGES, Following, Stage
from safekit_resource_rfs.generations import OVERWRITES, Durable, Verdict, judge
from safekit_resource_rfs.marked import pages_of
from safekit_resource_rfs.messages import (
    VERSION,
    Begin,
    Checkpoint,
    Checksum,
    Checksummed,
    Cleared,
    FromPrimary,
    List,
    Listed,
    ListXattrs,
    Marked,
    MarksPage,
    Missed,
    Numbered,
    Pair,
    PrimaryHello,
    Resume,
    SecondaryHello,
    Synced,
    XattrsListed,
)
from safekit_sdk import PeerError

DONE_EVERY: Final = 32
NOT_THERE: Final = frozenset((numbers.ENOENT, numbers.ENOTDIR, numbers.EISDIR, numbers.EBADF, numbers.ELOOP))
"""Errors of a sync that say nothing of the disk: the file was not copied yet."""


__all__ = ["Receiver", "Stage"]


class Receiver(Following):
    _last_change = 0
    """Of what was applied the last that is no Sync."""

    def drain(self) -> Iterator[Effect]:
        while True:
            if self._effects:
                yield self._effects.popleft()
            elif self._inbox and not self._blocks:
                try:
                    self._take(self._inbox.take())
                except PeerError as error:
                    self._report("protocol", error.message)
                    self._drop(error.message)
            elif self._applied > self._said_done and self._may_say_done:
                self._say_done()
            else:
                return

    @property
    def _may_say_done(self) -> bool:
        """Not while it can go with a Synced: nobody waits for the Done of a Sync."""
        if self._stage is not Stage.PAIRED:
            return self._stage is Stage.SYNCING
        return not self._syncs or (self._is_awaited and self._last_change > self._said_done)

    def _take(self, message: FromPrimary) -> None:
        if isinstance(message, Numbered):
            self._change(message)
        elif isinstance(message, PrimaryHello):
            self._greeted(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif self._stage not in (Stage.SYNCING, Stage.PAIRED):
            refuse(f"{type(message).__name__} at the wrong time")
        elif isinstance(message, Checkpoint):
            self._begin_checkpoint(message.number)
        elif isinstance(message, Cleared):
            self._clear(message.number)
        elif isinstance(message, Pair):
            self._pair(message)
        else:
            self._ask(message)

    def _greeted(self, hello: PrimaryHello) -> None:
        if self._stage is not Stage.GREETING:
            refuse("a second hello")
        if hello.version != VERSION:
            refuse(f"it speaks version {hello.version}, this node {VERSION}")
        self._stage = Stage.CHOOSING
        self._hello = hello
        followed = self._followed if self.durable.up_to_date else ""
        self._send(SecondaryHello(VERSION, self._session, followed, self._applied, self.durable))

    def _begin(self, begin: Begin) -> None:
        if self._stage is not Stage.CHOOSING:
            refuse("Begin at the wrong time")
        self._is_awaited = begin.is_awaited
        if begin.resume is Resume.STREAM:
            if self._followed != self._hello.stream or begin.next_seq != self._applied + 1:
                refuse("it goes on with a stream that was not followed")
            self._stage = Stage.PAIRED
            self._said_done = self._applied
            return
        verdict = judge(self._hello.durable.generation, self.durable.generation)
        if verdict in (Verdict.IT_DESCENDS, Verdict.EMPTY_HERE):
            refuse("its data are older than those of this node")
        self._insists = verdict in OVERWRITES
        self._followed = ""
        self._blocks += 1
        self._state.change(Durable.behind, partial(self._is_behind, begin, self._turn))

    def _is_behind(self, begin: Begin, turn: int) -> None:
        self._blocks -= 1
        if turn != self._turn:
            return
        self._stage = Stage.SYNCING
        self._stream = self._hello.stream
        self._applied = self._said_done = self._last_change = begin.next_seq - 1
        self._misses = 0
        self._report("behind", f"this node is not up to date until it is compared: {begin.resume.value}")
        self._effects.append(ForgetSlots())
        self._blocks += 1
        number = next(self._ids)
        self._resolving = (number, turn)
        everything = begin.resume is Resume.FULL or self._log.marks.everything
        self._effects.append(ResolveMarks(number, everything))

    def marks_resolved(self, number: int, directories: Sequence[Marked] | None) -> None:
        """None: they could not be looked up; everything is compared."""
        if self._resolving is None or self._resolving[0] != number:
            return
        turn, self._resolving = self._resolving[1], None
        self._blocks -= 1
        if turn != self._turn:
            return
        found = directories or ()
        everything = self._log.marks.everything or directories is None
        for page in pages_of(found):
            self._send(MarksPage(page, False))
        self._send(MarksPage((), True, everything))

    # changes

    def _change(self, message: Numbered) -> None:
        if self._stage not in (Stage.SYNCING, Stage.PAIRED):
            refuse("a change at the wrong time")
        if message.seq != self._applied + 1:
            refuse(f"change {message.seq} after {self._applied}")
        if isinstance(message.change, Sync | SyncDirectory):
            if len(self._syncs) >= self.limits.window_changes + SLACK_CHANGES:
                refuse("more syncs at a time than a primary waits for")
            self._applied = message.seq
            number = next(self._ids)
            self._syncs[number] = (self._turn, message.seq)
            self._effects.append(StartSync(number, message.change))
            return
        self._changes[message.seq] = message
        aside = self._stage is Stage.SYNCING and (message.aside or self._insists)
        self._effects.append(Apply(message.seq, message.change, aside))

    def applied(self, seq: int, errno: int, text: str = "") -> None:
        if self._changes.pop(seq, None) is None:
            return
        if not errno:
            self._applied = self._last_change = seq
            if seq - self._said_done >= DONE_EVERY:
                self._say_done()
        elif self._stage is Stage.SYNCING:
            self._misses += 1
            self._send(Missed(seq, errno))
            self._applied = seq
        else:
            self._fail(seq, errno, text)

    def synced(self, number: int, errno: int) -> None:
        if number not in self._syncs:
            return
        turn, seq = self._syncs.pop(number)
        if errno in NOT_THERE:
            if self._stage is not Stage.SYNCING:
                self._fail(seq, errno, "what is to be synced is not there")
        elif errno:
            self._disk_failed(seq, errno)
        elif turn == self._turn and self._stage is Stage.PAIRED:
            if self._applied > self._said_done:
                self._say_done()
            self._send(Synced(seq))

    # questions

    def _ask(self, message: FromPrimary) -> None:
        if isinstance(message, List):
            self._effects.append(ListHere(message.id, message.path, message.after, message.names))
        elif isinstance(message, Checksum):
            self._effects.append(ChecksumHere(message.id, message.path, message.offset, message.length))
        elif isinstance(message, ListXattrs):
            self._effects.append(XattrsHere(message.id, message.path))

    def listed(self, number: int, errno: int, entries: Sequence[Entry], last: bool) -> None:
        self._answer(Listed(number, errno, tuple(entries), last))

    def checksummed(self, number: int, errno: int, digests: Sequence[bytes]) -> None:
        self._answer(Checksummed(number, errno, tuple(digests)))

    def xattrs_read(self, number: int, errno: int, names: Sequence[bytes]) -> None:
        self._answer(XattrsListed(number, errno, tuple(names)))

    def _answer(self, message: Listed | Checksummed | XattrsListed) -> None:
        if self._stage is Stage.SYNCING:
            self._send(message)
