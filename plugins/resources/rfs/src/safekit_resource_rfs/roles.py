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
from safekit_resource_rfs.marks import WHOLE, Place
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.replica import Aside, Replica
from safekit_resource_rfs.sender import Gate, Limits, Mode, Sender, State
from safekit_resource_rfs.sending import Sending
from safekit_resource_rfs.verifying import Verification
from safekit_sdk import ConfigError

DISK_THREADS: Final = 4
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
        self, durable: Durable, means: Means, config: RfsConfig, mount: Mount, report: Report, parted: Parted
    ) -> None:
        limits = limits_of(config)
        self.sender = Sender(durable, means.marks, Mode(config.mode), uuid.uuid4().hex, limits)
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

    async def stand_alone(self, epoch: int) -> None:
        self.sender.stand_alone(epoch, uuid.uuid4().hex)
        self.performer.act()
        await self.performer.quiet()
        if self.sender.is_broken:
            raise ConfigError(
                "this node cannot stand alone: what has to be durable for that could not be written",
                hint="see `safekit rfs status`; mend the disk of the state directory, then restart the module here",
            )

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
        """The next comparison of what is marked looks at these."""
        for path in paths:
            for place in self._places(path):
                while (waiting := self.touch(place)) is not None:
                    await waiting

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

    def synced(self, change: Sync | SyncDirectory) -> Awaitable[None]:
        future: asyncio.Future[None] = self._loop.create_future()

        def release() -> None:
            if not future.done():
                future.set_result(None)

        self.sender.synced(change, release)
        self.performer.act()
        return future

    def cover(self, *places: Place) -> None:
        """These were just made in a directory that is marked."""
        self.sender.cover(*places)


class Secondary:
    """Applies what the primary sends."""

    def __init__(self, durable: Durable, means: Means, config: RfsConfig, report: Report, parted: Parted) -> None:
        limits = limits_of(config)
        label = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{durable.generation.id[:8] or 'new'}"
        self.replica = Replica(means.root_fd, Aside(means.root_fd, label), Exclusion(config.exclude))
        self.receiver = Receiver(durable, means.marks, uuid.uuid4().hex, limits)
        self.performer = Receiving(
            self.receiver,
            self.replica,
            means=replace(means, here=self.replica),
            timeout_s=limits.timeout_s,
            report=report,
            parted=parted,
        )

    @property
    def durable(self) -> Durable:
        return self.receiver.durable

    async def close(self) -> None:
        await self.performer.close()
        self.replica.close()
