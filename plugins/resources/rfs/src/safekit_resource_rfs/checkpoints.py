"""When marks may go: both disks have what they are of. And how a connection, or the role, ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from safekit_resource_rfs.effects import Disconnect, Report, SyncAll
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.holding import Holding
from safekit_resource_rfs.messages import Checkpoint, Cleared
from safekit_resource_rfs.stages import ONLY_SYNC, Link, Role


def _nothing() -> None:
    """Nothing was put off."""


class Checkpointing(Holding):
    """A primary that ends what it began."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.record_times: Callable[[], None] = _nothing
        """Called before marks are on their way out: whatever the file system put off (times of modification) has to be
        recorded then. It needs no touch: what was modified is marked."""
        self._checkpoint: tuple[int, int, bool, bool] | None = None
        """Its number, that of the SyncAll, whether the secondary and this disk have it."""
        self._checkpoint_s = 0.0
        self._peer_stable = 0
        self._pair_pending = False
        self._is_flushed = False
        """The secondary has synced everything that the resync brought."""

    @property
    def is_calm(self) -> bool:
        """Nothing is on its way to the secondary."""
        return self._window.is_empty and self._checkpoint is None

    def demote(self) -> None:
        """No more modifications. What is recorded still goes to the secondary, then a checkpoint; then
        Report("demoted")."""
        self._role = Role.LEAVING
        self._wake()
        self._leave()

    def _leave(self) -> None:
        if self._role is not Role.LEAVING:
            return
        is_calm = self._window.is_empty and (self._checkpoint is None or self.is_broken)
        if self._link is Link.STREAM and not is_calm:
            return
        marks = self._log.marks
        if self._link is Link.STREAM and (marks.count or marks.everything) and self.checkpoint():
            return
        self._role = Role.IDLE
        self.emit(Report("demoted", "nothing is modified any more"))
        self._drop("this node is not primary any more")

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

    def checkpoint(self) -> bool:
        """Begin one now, where it is possible; by itself it does so every checkpoint_s."""
        if self.is_broken or self._link is not Link.STREAM or self._checkpoint is not None or self._log.is_clearing:
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
        if errno:
            self.disk_failed(errno)
        if self._checkpoint is None or self._checkpoint[1] != number:
            return
        self._checkpoint = (*self._checkpoint[:3], True)
        self._finish_checkpoint()

    def disk_failed(self, errno: int) -> None:
        """A sync of data failed. What the disk refused is clean in the cache, and no later sync speaks of it again: the
        other node has it perhaps, and this one goes on only when that cannot be. Until the role ends nothing is
        modified; the stream goes on, so that the other node can take over."""
        if self.is_broken and self.marks.everything:
            return
        self.is_broken = True
        self._abort_checkpoint()
        self._log.mark_everything()
        self._state.change(lambda before: replace(before, doubt=before.doubt or before.paired), _nothing)
        self.emit(Report("disk", f"the own disk could not be synced: error {errno}"))
        self._wake()
        self._leave()

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
