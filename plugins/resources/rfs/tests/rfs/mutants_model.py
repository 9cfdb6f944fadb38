"""Broken senders and receivers: what the simulation has to find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from safekit_resource_rfs.changes import Sync, SyncDirectory
from safekit_resource_rfs.effects import Release
from safekit_resource_rfs.marks import Place
from safekit_resource_rfs.messages import Begin, Pair, Resume, SecondaryHello
from safekit_resource_rfs.receiver import Receiver, Stage
from safekit_resource_rfs.sender import Gate, Link, Sender

from .machine_model import Variant


class MarksLate(Sender):
    """Modifies before the mark is durable."""

    def touch(self, places: Iterable[Place], now_ns: int) -> Gate:
        gate = super().touch(places, now_ns)
        return Gate.GO if gate is Gate.WAIT and not self._window.is_full else gate


class AnswersWhileHolding(Sender):
    """Acknowledges alone, unasked."""

    @property
    def _must_wait(self) -> bool:
        return self._held and self._link is Link.STREAM and super()._must_wait


class ClearsUnsynced(Sender):
    """Clears marks before its own disk has what they are of."""

    def checkpoint(self) -> bool:
        began = super().checkpoint()
        if began:
            self._effects.pop()
            self.synced_all(self._checkpoint[1] if self._checkpoint is not None else 0, 0)
        return began


class StableUnsynced(Receiver):
    """Says so before its disk has what came before the checkpoint."""

    def _begin_checkpoint(self, number: int) -> None:
        super()._begin_checkpoint(number)
        self._effects.pop()
        self.synced_all(max(self._syncing), 0)


class ResendsToAnyone(Sender):
    """Takes the secondary's number for one of this stream."""

    def _greeted(self, hello: SecondaryHello) -> None:
        if self._held and self._window.can_resume(hello.applied):
            self._resume(hello.applied)
        else:
            super()._greeted(hello)


class FollowsAnyone(Receiver):
    def _begin(self, begin: Begin) -> None:
        if begin.resume is Resume.STREAM:
            self._followed = self._hello.stream
            self._applied = begin.next_seq - 1
        super()._begin(begin)


class StandsAloneUnsaved(Sender):
    """Acknowledges alone with the generation that the other node has."""

    def stand_alone(self, epoch: int, new_id: str) -> None:
        self._may_pair = False
        self._drop("this node goes on alone")
        self._stands_alone()


class PairsUnsaved(Sender):
    """Forgets in a crash that the secondary may have everything."""

    def _go_on(self) -> None:
        resync = self._resync
        if resync is not None and self._is_flushed and not self._pair_pending and self._may_pair and resync.is_done:
            if self._link is Link.SYNCING:
                self._send_pair(resync)
            return
        super()._go_on()


class SyncsAlone(Sender):
    """Answers an fsync without the secondary's disk."""

    def synced(self, change: Sync | SyncDirectory, token: Any) -> None:
        self.emit(Release((token,)))


class KeepsNothing(Sender):
    """Overwrites what a secondary has of its own."""

    def _begin(self, resume: Resume, aside: bool) -> None:
        super()._begin(resume, False)


class TrustsThePrimary(Receiver):
    """Keeps aside what the primary says, and nothing else."""

    def _begin(self, begin: Begin) -> None:
        super()._begin(begin)
        self._insists = False


class ConfirmsUnsaved(Receiver):
    """Takes what its disk refused for written."""

    def store_failed(self, text: str) -> None:
        if self._state._writing is not None:
            self.stored(self._state._writing[0])
        if self._log._writing is not None:
            self.marks_stored(self._log._writing[0])


class ForgetsMisses(Sender):
    """Does not look again at what the secondary could not apply."""

    def _begin(self, resume: Resume, aside: bool) -> None:
        super()._begin(resume, aside)
        assert self._resync is not None
        self._resync.missed = lambda *values: None  # type: ignore[method-assign]


class PairsUnsynced(Receiver):
    """Says so before its disk has it."""

    def _pair(self, message: Pair) -> None:
        if message.misses != self._misses:
            super()._pair(message)
            return
        self._blocks += 1
        self._has_all(message, self._turn, 0)


class PairsUnsavedThere(Receiver):
    """Says so before it is on record."""

    def _has_all(self, pair: Pair, turn: int, errno: int) -> None:
        self._is_up(turn)
        self._blocks += 1
        super()._has_all(pair, turn, errno)

    def _is_up(self, turn: int) -> None:
        if self._stage is Stage.SYNCING:
            super()._is_up(turn)
        else:
            self._blocks -= 1


class StaysUp(Receiver):
    """Is compared while it still says that it has everything."""

    def _begin(self, begin: Begin) -> None:
        if begin.resume is Resume.STREAM or self._stage is not Stage.CHOOSING:
            super()._begin(begin)
            return
        self._followed = ""
        self._blocks += 1
        self._is_behind(begin, self._turn)


class TrustsItsCache(Receiver):
    """Compares what the cache has, whatever the disk refused."""

    distrusts_cache = False


class IgnoresItsDisk(Sender):
    """Goes on as if what its own disk refused would still get there."""

    def disk_failed(self, errno: int) -> None:
        pass


VARIANTS = (
    Variant("marks late", sender=MarksLate),
    Variant("answers while holding", sender=AnswersWhileHolding),
    Variant("clears unsynced", sender=ClearsUnsynced),
    Variant("stable unsynced", receiver=StableUnsynced),
    Variant("resends to anyone", sender=ResendsToAnyone, receiver=FollowsAnyone),
    Variant("stands alone unsaved", sender=StandsAloneUnsaved),
    Variant("pairs unsaved", sender=PairsUnsaved),
    Variant("syncs alone", sender=SyncsAlone),
    Variant("keeps nothing aside", sender=KeepsNothing, receiver=TrustsThePrimary),
    Variant("forgets misses", sender=ForgetsMisses),
    Variant("pairs unsynced", receiver=PairsUnsynced),
    Variant("pairs unsaved there", receiver=PairsUnsavedThere),
    Variant("stays up", receiver=StaysUp),
    Variant("trusts a reboot", trusts_reboot=True),
)
