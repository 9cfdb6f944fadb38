"""Performs what a state machine of the protocol asks for: on the disk, in the directory, over the connection.

What executes or applies modifications runs on the thread of the loop, in the order of the effects; what waits for a
disk runs in a pool, and its answer comes back as a call of the machine."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from safekit_resource_rfs import compare, effects, wire
from safekit_resource_rfs.compare import Local
from safekit_resource_rfs.connection import Link
from safekit_resource_rfs.disk import sync_filesystem
from safekit_resource_rfs.inquiring import Decoder
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.sender import Sender
from safekit_resource_rfs.storage import Storage
from safekit_resource_rfs.survey import Survey
from safekit_sdk import PeerError

_LOG: Final = logging.getLogger(__name__)
TICKS: Final = 8
"""In the time after which the other node is lost."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Means:
    """What the machines of either role work with."""

    storage: Storage
    marks: Marks
    root_fd: int
    here: Local
    """For the thread of the loop."""
    beside: Survey
    """For the one thread of `reading`."""
    files: Executor
    """One thread for the storage."""
    disk: Executor
    """A few, for fsync and syncfs."""
    reading: Executor
    """One thread for `beside`."""


class Performer:
    """Of one machine in one role. `report` gets what it reports; `parted` is called when a connection ended."""

    def __init__(
        self,
        machine: Sender | Receiver,
        means: Means,
        timeout_s: float,
        report: Callable[[str, str], None],
        parted: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._base: Sender | Receiver = machine
        self._means = means
        self._report = report
        self._parted = parted
        self._tick_s = timeout_s / TICKS
        self._is_acting = False
        self._is_closed = False
        self._outstanding = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._decoder = Decoder(from_primary=isinstance(machine, Receiver))
        self.link: Link | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(self._tick_s, self._tick)
        self.handlers: dict[type, Callable[[Any], None]] = {
            effects.Send: self._send,
            effects.Disconnect: self._disconnect,
            effects.Store: self._store,
            effects.AppendMarks: self._append_marks,
            effects.ReplaceMarks: self._replace_marks,
            effects.SyncAll: self._sync_all,
            effects.ResolveMarks: self._resolve_marks,
            effects.ChecksumHere: self._checksum,
            effects.Report: self._tell,
        }

    # Acting

    def act(self) -> None:
        """After each call of the machine: perform what it wants now."""
        if self._is_acting:
            return
        self._is_acting = True
        try:
            for effect in self._base.drain():
                try:
                    self.handlers[type(effect)](effect)
                except Exception as error:
                    self._break_off(error)
        except Exception as error:
            self._break_off(error)
        finally:
            self._is_acting = False

    def _break_off(self, error: Exception) -> None:
        """What the connection carried may be incomplete from here on; a new one begins with what both sides know."""
        _LOG.error("a defect", exc_info=error)
        self._loop.call_soon(self._part_from, self.link, "a defect; see the log")

    def _part_from(self, link: Link | None, reason: str) -> None:
        if self.link is link:
            self.part(reason)

    def later(self, pool: Executor, work: Callable[[], T], then: Callable[[T | None, OSError | None], None]) -> None:
        """Work in a pool; `then` and what follows from it on the thread of the loop."""
        self.begin()
        self._loop.run_in_executor(pool, work).add_done_callback(partial(self._finish, then))

    def _finish(self, then: Callable[[Any, OSError | None], None], done: asyncio.Future[Any]) -> None:
        failure = None if done.cancelled() else done.exception()
        try:
            if failure is None and not done.cancelled():
                then(done.result(), None)
            elif isinstance(failure, OSError):
                then(None, failure)
            else:
                _LOG.error("a defect", exc_info=failure)
                then(None, OSError(errno.EIO, f"a defect: {failure!r}"))
        except Exception as error:
            self._break_off(error)
        finally:
            self.act()
            self.end()

    def begin(self) -> None:
        """Something that the machine asked for is under way."""
        self._outstanding += 1
        self._quiet.clear()

    def end(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._quiet.set()

    async def quiet(self) -> None:
        """Nothing that the machine asked for is under way."""
        await self._quiet.wait()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        try:
            self._base.tick(self._loop.time())
        except Exception as error:
            self._break_off(error)
        self.act()

    async def close(self) -> None:
        """No connection, no timer, nothing under way; the machine is not to be used any more."""
        self._is_closed = True
        self.part("")
        await self.quiet()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    # The connection

    def join(self, link: Link) -> None:
        """A new connection; an older one is given up, as it is of the same node. None is taken any more after `close`
        has begun."""
        if self._is_closed:
            link.close()
            return
        self.part("the other node connected again")
        self.link = link
        self._decoder = Decoder(from_primary=isinstance(self._base, Receiver))
        link.received = self._receive
        link.lost = self.part
        self._base.connected(self._loop.time())
        self.act()
        link.start()

    def take(self, message: Any) -> None:
        """Give a message to the machine, or to who asked beside it."""
        raise NotImplementedError

    def _receive(self, data: memoryview) -> None:
        link = self.link
        try:
            for message in self._decoder.feed(data):
                self.take(message)
                if self.link is not link:
                    return
            self.act()
        except PeerError as error:
            self.part(f"the other node broke the protocol: {error.message}")
        except Exception as error:
            _LOG.error("a defect", exc_info=error)
            self._part_from(link, "a defect; see the log")

    def part(self, reason: str) -> None:
        """End the connection, if there is one."""
        if self.link is None:
            return
        link, self.link = self.link, None
        link.close()
        self._base.disconnected(self._loop.time())
        self.act()
        self._parted(reason)

    def _send(self, effect: effects.Send) -> None:
        if self.link:
            self.link.send(*wire.encode(effect.message), is_awaited=effect.is_awaited)

    def _disconnect(self, effect: effects.Disconnect) -> None:
        _LOG.warning("disconnecting: %s", effect.reason)
        self._loop.call_soon(self._part_from, self.link, effect.reason)

    # The disk

    def _store(self, effect: effects.Store) -> None:
        def then(_: object, failure: OSError | None) -> None:
            if failure:
                self._base.store_failed(f"{failure.strerror}: {self._means.storage.folder}")
            else:
                self._base.stored(effect.number)

        self.later(self._means.files, partial(self._means.storage.store, effect.durable), then)

    def _append_marks(self, effect: effects.AppendMarks) -> None:
        work = partial(self._means.storage.append, effect.marks)
        self.later(self._means.files, work, partial(self._marks_stored, effect.number))

    def _replace_marks(self, effect: effects.ReplaceMarks) -> None:
        work = partial(self._means.storage.replace, effect.marks)
        self.later(self._means.files, work, partial(self._marks_stored, effect.number))

    def _marks_stored(self, number: int, _: object, failure: OSError | None) -> None:
        if failure:
            self._base.store_failed(f"{failure.strerror}: {self._means.storage.folder}")
        else:
            self._base.marks_stored(number)

    def _sync_all(self, effect: effects.SyncAll) -> None:
        def then(_: object, failure: OSError | None) -> None:
            self._base.synced_all(effect.number, errno_of(failure))

        self.later(self._means.disk, partial(sync_filesystem, self._means.root_fd), then)

    # The directory

    def _resolve_marks(self, effect: effects.ResolveMarks) -> None:
        directories = self._means.marks.directories()

        def work() -> list[Any]:
            return list(compare.resolve(directories, self._means.beside))

        def then(found: list[Any] | None, failure: OSError | None) -> None:
            if failure:
                self._tell(effects.Report("disk", f"the marks cannot be looked up: {failure}"))
            self._base.marks_resolved(effect.number, found)

        self.later(self._means.reading, work, then)

    def _checksum(self, effect: effects.ChecksumHere) -> None:
        def then(found: tuple[bytes, ...] | None, failure: OSError | None) -> None:
            self._base.checksummed(effect.id, errno_of(failure), found or ())

        place = (effect.path, effect.offset, effect.length)
        work = partial(self._means.beside.checksums, *place, from_disk=self._base.distrusts_cache, with_holes=True)
        self.later(self._means.reading, work, then)

    def soon(
        self, work: Callable[[Local], T], then: Callable[[T | None, OSError | None], None], *, at_once: bool
    ) -> None:
        """Read the directory: now, or in the pool."""
        if not at_once:
            self.later(self._means.reading, partial(work, self._means.beside), then)
            return
        try:
            found = work(self._means.here)
        except OSError as error:
            then(None, error)
        else:
            then(found, None)

    def _tell(self, effect: effects.Report) -> None:
        _LOG.info("%s: %s", effect.event, effect.text)
        self._report(effect.event, effect.text)


def errno_of(failure: OSError | None) -> int:
    return 0 if failure is None else failure.errno or errno.EIO
