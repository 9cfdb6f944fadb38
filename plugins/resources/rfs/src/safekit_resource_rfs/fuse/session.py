"""Requests of one mount: read from /dev/fuse in the event loop, handed out by opcode, answered at once or later."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import struct
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from safekit_resource_rfs import turns
from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.interruptions import Interruptions
from safekit_resource_rfs.fuse.protocol import Capability, Notice, Opcode

_LOG: Final = logging.getLogger(__name__)
MAX_BACKGROUND: Final = 256
MAX_PENDING: Final = 4096
"""Requests that wait for an answer; more are not read."""
_BATCH: Final = 32
"""Requests read before the loop sees to others."""
_SINGLE_TURNS: Final = 15
"""In which one is read, after a second one was looked for in vain."""
_MAX_ERRNO: Final = 512
"""The kernel takes no answer with this one or a larger one, and the request would wait for ever."""
_LINGER_S: Final = 1.0
_GONE: Final = frozenset({errno.ENODEV, errno.ECONNABORTED, errno.EBADF})
_UNANSWERED: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.DESTROY})


class Wait(Exception):  # noqa: N818
    """Raised by a handler that changed nothing yet: do the request again when the awaitable is done."""

    def __init__(self, awaitable: Awaitable[None]) -> None:
        super().__init__()
        self.awaitable = awaitable


class Request:
    """One request of the kernel; it is answered once, further answers are ignored."""

    __slots__ = (
        *("_session", "answered", "body", "gid", "is_interruptible", "node_id", "opcode", "pid", "task", "uid"),
        "unique",
    )

    def __init__(self, session: Session, header: tuple[int, ...], body: memoryview) -> None:
        _, self.opcode, self.unique, self.node_id, self.uid, self.gid, self.pid, _ = header
        self.body = body
        """Valid until the handler returns, unless kept."""
        self.answered = False
        self.is_interruptible = False
        """It waits, and may be given up."""
        self.task: asyncio.Task[None] | None = None
        self._session = session

    def keep(self) -> None:
        """The request outlives its handler: copy what the next one would overwrite."""
        self.body = memoryview(bytes(self.body))
        self._session.hold(self)

    def hold(self) -> None:
        """The request is answered later, and its body is not needed for that."""
        self._session.hold(self)

    def reply(self, payload: bytes | memoryview = b"") -> None:
        """From any thread."""
        self._session.answer(self, 0, payload)

    def fail(self, number: int) -> None:
        self._session.answer(self, number, b"")

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """The coroutine answers; its OSError is the answer, and it is cancelled when the request is given up."""
        self._session.run(self, coroutine)

    def give_up(self) -> None:
        """Only what waits and has changed nothing, or waits for a disk, can be given up."""
        if self.task:
            self.task.cancel()
        elif self.is_interruptible:
            self.fail(errno.EINTR)


Handler: TypeAlias = Callable[[Request], None]


class Session:
    """`handlers` may be exchanged at any time. An opcode without one answers ENOSYS."""

    def __init__(
        self, device_fd: int, handlers: Mapping[int, Handler], *, is_writeback: bool = False, minor: int = 0
    ) -> None:
        """`minor`: as an earlier program agreed it with the kernel, which says INIT once."""
        self.handlers = handlers
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the mount is gone."""
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done after INIT; OSError EPROTONOSUPPORT when the kernel lacks something."""
        self._wanted = protocol.WANTED | (Capability.WRITEBACK_CACHE if is_writeback else Capability(0))
        self._loop = asyncio.get_running_loop()
        self._turns = turns.running()
        self._device_fd = device_fd
        self.minor = minor
        """Of the protocol that the kernel speaks."""
        if minor:
            self.started.set_result(None)
        self._buffer = bytearray(protocol.BUFFER_BYTES)
        self._buffers = [self._buffer]
        self._view = memoryview(self._buffer)
        self._pending: dict[int, Request] = {}
        self._interruptions = Interruptions()
        self._is_reading = False
        self._is_held = False
        """Nothing is read until `go_on`."""
        self._single_turns = 0
        """That are left in which one request is read: a writer that waits for its answer has no second one."""
        self._resume()

    @property
    def device_fd(self) -> int:
        return self._device_fd

    @property
    def pending(self) -> int:
        """Requests that wait for an answer."""
        return len(self._pending)

    def hold_back(self) -> None:
        """Read no further requests: the kernel keeps them, and applications wait."""
        self._is_held = True
        self._pause()

    def go_on(self) -> None:
        self._is_held = False
        self._resume()

    def close(self) -> None:
        """End without an answer to what is pending; the kernel answers ENOTCONN from then on."""
        self._pause()
        self._interruptions.close()
        for request in self._pending.values():
            request.answered = True
            if request.task:
                request.task.cancel()
        self._pending.clear()
        if self._device_fd >= 0:
            self._leave()
        for future in (self.ended, self.started):
            if not future.done():
                future.set_result(None)

    def _leave(self) -> None:
        """A thread of the pool may be about to answer: the number must not mean another file until it has."""
        fd, self._device_fd = self._device_fd, -1
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), fd, inheritable=False)
        self._loop.call_later(_LINGER_S, os.close, fd)

    def refuse_pending(self, number: int) -> None:
        """Answer all that wait with this error."""
        for request in list(self._pending.values()):
            if request.task:
                request.task.cancel()
            request.fail(number)

    # Reading

    def _resume(self) -> None:
        if not (self._is_reading or self._is_held) and self._device_fd >= 0:
            self._is_reading = True
            self._turns.watch(self._device_fd, self._read)

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._turns.unwatch(self._device_fd)

    def _read(self) -> None:
        batch, self._single_turns = (1, self._single_turns - 1) if self._single_turns else (_BATCH, 0)
        for number in range(batch):
            try:
                size = os.readv(self._device_fd, self._buffers)
            except BlockingIOError:
                self._single_turns = _SINGLE_TURNS if number == 1 else 0
                return
            except OSError as error:
                if error.errno in _GONE:
                    self.close()
                    return
                continue
            self._take(size)
            if not self._is_reading:
                return

    def _take(self, size: int) -> None:
        header = protocol.IN_HEADER.unpack_from(self._buffer)
        request = Request(self, header, self._view[protocol.IN_HEADER.size : size])
        try:
            self.handlers[request.opcode](request)
        except Exception as error:
            self._excuse(request, error)

    def _excuse(self, request: Request, error: BaseException) -> None:
        """What an exception of a handler means for the request."""
        if isinstance(error, Wait):
            request.keep()
            request.run(self._again(request, error.awaitable))
        elif isinstance(error, KeyError) and request.opcode not in self.handlers:
            self._serve_itself(request)
        elif isinstance(error, OSError) and error.errno:
            request.fail(error.errno)
        else:
            _LOG.error("request %s failed", _name(request.opcode), exc_info=error)
            request.fail(errno.EIO)

    async def _again(self, request: Request, awaitable: Awaitable[None]) -> None:
        await awaitable
        request.task = None
        try:
            self.handlers[request.opcode](request)
        except Exception as error:
            self._excuse(request, error)

    # Answering

    def answer(self, request: Request, number: int, payload: bytes | memoryview) -> None:
        if request.answered:
            return
        request.answered = True
        if self._pending.pop(request.unique, None) and not self._is_reading:
            self._loop.call_soon_threadsafe(self._resume)
        if request.opcode in _UNANSWERED:
            return
        number = number if number < _MAX_ERRNO else errno.EIO
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(payload), -number, request.unique)
        try:
            os.writev(self._device_fd, (header, payload) if payload else (header,))
        except OSError as error:
            if error.errno not in (errno.ENOENT, *_GONE):
                _LOG.error("answer to %s: %s", _name(request.opcode), error)

    def hold(self, request: Request) -> None:
        if request.answered:
            return
        self._pending[request.unique] = request
        if len(self._pending) >= MAX_PENDING:
            self._pause()

    def run(self, request: Request, coroutine: Coroutine[Any, Any, None]) -> None:
        self.hold(request)
        request.task = self._loop.create_task(self._answering(request, coroutine))

    async def _answering(self, request: Request, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except asyncio.CancelledError:
            request.fail(errno.EINTR)
        except Exception as error:
            self._excuse(request, error)

    # What the session answers itself

    def _serve_itself(self, request: Request) -> None:
        if request.opcode == Opcode.INIT:
            self._negotiate(request)
        elif request.opcode == Opcode.INTERRUPT:
            self._interrupt(request)
        elif request.opcode == Opcode.DESTROY:
            request.answered = True
        else:
            request.fail(errno.ENOSYS)

    def _negotiate(self, request: Request) -> None:
        major, self.minor, readahead, offered = protocol.INIT_IN.unpack_from(request.body)
        missing = protocol.REQUIRED & ~offered
        if major != protocol.MAJOR or missing:
            request.fail(errno.EPROTO)
            error = OSError(errno.EPROTONOSUPPORT, f"the kernel's FUSE lacks {missing!r}")
            self.started.set_exception(error)
            return
        flags = self._wanted & offered
        limits = (MAX_BACKGROUND, MAX_BACKGROUND * 3 // 4, protocol.MAX_WRITE_BYTES, 1, protocol.MAX_PAGES, 0, 0)
        request.reply(protocol.INIT_OUT.pack(major, protocol.MINOR, readahead, flags, *limits))
        if not self.started.done():
            self.started.set_result(None)

    def _interrupt(self, request: Request) -> None:
        request.answered = True
        (unique,) = protocol.INTERRUPT_IN.unpack_from(request.body)
        if pending := self._pending.get(unique):
            self._interruptions.add(pending)

    # Telling the kernel

    def invalidate_inode(self, node_id: int) -> None:
        """Forget its attributes and pages. It can wait for requests: never call these two on the thread of the loop."""
        self._notify(Notice.INVALIDATE_INODE, protocol.INVALIDATE_INODE_OUT.pack(node_id, 0, -1))

    def invalidate_entry(self, parent_id: int, name: bytes) -> None:
        self._notify(
            Notice.INVALIDATE_ENTRY, protocol.INVALIDATE_ENTRY_OUT.pack(parent_id, len(name), 0) + name + b"\0"
        )

    def prune(self, node_ids: Sequence[int]) -> None:
        """Ask the kernel to forget what of these nobody uses, where it understands that."""
        if self.minor >= protocol.PRUNE_MINOR:
            packed = struct.pack(f"={len(node_ids)}Q", *node_ids)
            self._notify(Notice.PRUNE, protocol.PRUNE_OUT.pack(len(node_ids), 0) + packed)

    def _notify(self, notice: Notice, payload: bytes) -> None:
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(payload), notice, 0)
        with suppress(OSError):  # it does not know the inode or name, or it is unmounted
            os.writev(self._device_fd, (header, payload))


def _name(opcode: int) -> str:
    """For the log, also of what is unknown."""
    return Opcode(opcode).name if opcode in Opcode.__members__.values() else str(opcode)
