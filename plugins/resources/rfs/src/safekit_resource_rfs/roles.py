"""What a node does with its directory as primary, and as secondary: the machine of that role with its performer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from safekit_resource_rfs import compare
from safekit_resource_rfs.applying import Receiving
from safekit_resource_rfs.changes import Change, Sync, SyncDirectory
from safekit_resource_rfs.config import RfsConfig
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.handover import PrimaryState, SecondaryState
from safekit_resource_rfs.marks import WHOLE, Place
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.recorder import Heard
from safekit_resource_rfs.replica import Aside, Replica
from safekit_resource_rfs.sender import Gate, Limits, Mode, Role, Sender, State
from safekit_resource_rfs.sending import Sending
from safekit_resource_rfs.verifying import MAX_DIFFERENCES, Verification
from safekit_sdk import ConfigError

DISK_THREADS: Final = 4
LEAVE_S: Final = 2.0
"""For one small write to the own disk."""
Report = Callable[[str, str], None]
Parted = Callable[[str], None]


def limits_of(config: RfsConfig) -> Limits:
    return Limits(
        timeout_s=config.timeout.seconds,
        stall_s=2 * config.timeout.seconds,
        resync_bytes_per_s=float(config.bandwidth),
        checkpoint_s=config.checkpoint.seconds,
    )


def a_pool(threads: int, name: str) -> Executor:
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


class Primary:
    """Serves the directory and sends what is changed. It is the file system's recorder."""

    def __init__(
        self,
        durable: Durable,
        means: Means,
        config: RfsConfig,
        mount: Mount,
        report: Report,
        parted: Parted,
        stream: str = "",
    ) -> None:
        """`stream`: of another program, which it goes on with; a new one when empty."""
        limits = limits_of(config)
        self.sender = Sender(durable, means.marks, Mode(config.mode), stream or uuid.uuid4().hex, limits)
        self.performer = Sending(
            self.sender,
            mount.forget_slots,
            means=means,
            timeout_s=limits.timeout_s,
            report=report,
            parted=parted,
        )
        self.sender.record_times = self._record_times
        self._is_stepping = False
        """The sender is amidst a step: what it wants is performed after that."""
        self._mount = mount
        self._here = means.here
        self._bytes_per_s = limits.resync_bytes_per_s
        self._loop = asyncio.get_running_loop()

    @property
    def durable(self) -> Durable:
        return self.sender.durable

    async def begin(self, epoch: int, *, alone: bool) -> None:
        """Serves the directory when it returns. ConfigError when the state could not be made durable, or forbids it."""
        self.sender.promote(epoch, uuid.uuid4().hex, alone=alone)
        self.performer.act()
        await self.performer.quiet()
        if self.sender.state is State.IDLE:
            raise ConfigError("this node cannot become primary for its data", hint="see `safekit rfs status`")
        if not alone:
            self.pair()
        await self._mount.serve(self)

    @property
    def state(self) -> PrimaryState:
        """While nothing waits and nothing is on its way."""
        stream, next_seq, held = self.sender.place
        tree, may_pair = self._mount.tree_state, self.sender.may_pair
        return PrimaryState(stream=stream, next_seq=next_seq, held=held, may_pair=may_pair, tree=tree)

    def take_over(self, state: PrimaryState) -> None:
        """Serves as the program before it did."""
        self.sender.take_over(state.next_seq, held=state.held)
        if state.may_pair:
            self.pair()
        self._mount.serve_again(self, state.tree)

    @property
    def is_calm(self) -> bool:
        """Nothing waits, and what is on its way can be sent again by nobody else: nothing, or it is compared anyway."""
        self._mount.record_times()
        is_followed = self.sender.state is State.PAIRED
        return not self._mount.pending and (self.sender.is_calm or not is_followed)

    async def stand_alone(self, epoch: int) -> None:
        self.sender.stand_alone(epoch, uuid.uuid4().hex)
        self.performer.act()
        await self.performer.quiet()
        if self.sender.is_broken:
            raise ConfigError(
                "this node cannot stand alone: what has to be durable for that could not be written",
                hint="see `safekit rfs status`; mend the disk of the state directory, then restart the module here",
            )

    def go_on_alone(self) -> None:
        """The secondary stopped, and left it on record that it does not take over: nobody has to be asked. The engine's
        word that the two may be paired is as good as before."""
        sender = self.sender
        if sender.role is Role.PRIMARY and sender.state is State.HOLDING and sender.may_pair:
            sender.stand_alone(sender.durable.generation.epoch, uuid.uuid4().hex)
            sender.pair()

    def pair(self) -> None:
        self.sender.pair()
        self.performer.act()

    def end(self) -> None:
        """No modification is taken any more; what was goes to the other node. Reports `demoted` then."""
        self._mount.flush_times()
        self.sender.demote()
        self.performer.refuse(errno.EROFS)
        self.performer.act()

    def verification(self) -> Verification:
        return Verification(
            link=lambda: self.performer.link,
            inquirer=self.performer.inquirer,
            here=self._here,
            settle=self._mount.flush_times,
            bytes_per_s=self._bytes_per_s,
        )

    async def mark(self, paths: Iterable[bytes]) -> None:
        """The next resynchronisation looks at these."""
        found = list(paths)
        places = [place for path in found for place in self._places(path)]
        self.sender.differ(places if len(found) < MAX_DIFFERENCES else None, time.time_ns())
        self.performer.act()

    def _places(self, path: bytes) -> Iterator[Place]:
        directory, name = compare.split(path)
        with contextlib.suppress(OSError):
            handle = self._here.handle(directory)
            yield Place(handle)
            entry = self._here.entry(path)
            if name and not stat.S_ISDIR(entry.mode):
                yield Place(handle, entry.inode, WHOLE)
            elif name:
                yield Place(self._here.handle(path), 0, WHOLE)

    # The file system's recorder

    def touch(self, *places: Place) -> Awaitable[None] | None:
        gate = self.sender.touch(places, time.time_ns())
        if gate is Gate.GO:
            return None
        if gate is Gate.REFUSED:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if gate is Gate.FAILED:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        waiting = self.performer.wait()
        self.performer.act()
        return waiting

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        may_answer = self.sender.record(change, answer)
        if not self._is_stepping:
            self.performer.act()
        return may_answer

    def _record_times(self) -> None:
        self._is_stepping = True
        try:
            self._mount.record_times()
        finally:
            self._is_stepping = False

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        if self.sender.is_broken:
            then(errno.EIO)
            return
        self.sender.synced(change, then)
        self.performer.act()

    def disk_failed(self, error: int) -> None:
        self.sender.disk_failed(error)
        self.performer.act()

    def cover(self, *places: Place) -> None:
        """These were just made in a directory that is marked."""
        self.sender.cover(*places)


class Secondary:
    """Applies what the primary sends."""

    def __init__(
        self,
        durable: Durable,
        means: Means,
        config: RfsConfig,
        report: Report,
        parted: Parted,
        state: SecondaryState | None = None,
    ) -> None:
        """`state`: of another program that followed until now."""
        limits = limits_of(config)
        label = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{durable.generation.id[:8] or 'new'}"
        self.replica = Replica(means.root_fd, Aside(means.root_fd, label), Exclusion(config.exclude))
        session = state.session if state else uuid.uuid4().hex
        self.receiver = Receiver(durable, means.marks, session, limits)
        if state:
            self.receiver.take_over(state.followed, state.applied)
            self.replica.adopt_slots(state.slots)
        self._apart = asyncio.Event()
        self._parted = parted
        self.performer = Receiving(
            self.receiver,
            self.replica,
            means=replace(means, here=self.replica),
            timeout_s=limits.timeout_s,
            report=report,
            parted=self._part,
        )

    @property
    def durable(self) -> Durable:
        """Of a node that cannot record what it is, the worst."""
        durable = self.receiver.durable
        return durable.behind() if self.receiver.is_failing else durable

    @property
    def state(self) -> SecondaryState:
        """Without a connection."""
        session, followed, applied = self.receiver.place
        return SecondaryState(session=session, followed=followed, applied=applied, slots=self.replica.slots)

    def _part(self, reason: str) -> None:
        self._apart.set()
        self._parted(reason)

    async def leave(self) -> None:
        """Before the node stops. A primary that this does not reach in time holds what is written until the engine
        decides, as after a crash."""
        self._apart.clear()
        self.receiver.leave()
        self.performer.act()
        if self.receiver.is_ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._apart.wait()

    async def close(self) -> None:
        await self.performer.close()
        self.replica.close()
