"""The connection between the two data paths: TCP with TLS 1.3, each side pinned to the other's key.

The secondary connects, the primary listens. Sockets are non-blocking and belong to the one loop of the data path;
TLS records are made in it as well, so that no data is copied between threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from safekit_resource_rfs.keys import Identity
from safekit_sdk import ConfigError

HANDSHAKE_S: Final = 5.0
MAX_STRANGERS: Final = 8
"""Connections that have not proved the other node's key yet; further ones are closed at once."""
READ_BYTES: Final = 1 << 18
READS_PER_TURN: Final = 8
"""Then others have their turn, above all the file system."""
MAX_PIECE_BYTES: Final = 1 << 17
RETRY_FIRST_S: Final = 0.1
RETRY_LAST_S: Final = 2.0
ESTABLISHED_BACKLOG: Final = 16


class Link:
    """Authenticated. `received` and `lost` are set before `start`; after `lost` nothing comes any more."""

    def __init__(self, stream: ssl.SSLSocket, peer_address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._fd = stream.fileno()
        self._view = memoryview(bytearray(READ_BYTES))
        self._queue: deque[bytes | memoryview] = deque()
        self._is_writing = False
        self._is_scheduled = False
        self._is_open = True
        self.peer_address = peer_address
        self.unsent_bytes = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.received: Callable[[memoryview], None] = _ignore
        """What it is given is overwritten afterwards."""
        self.lost: Callable[[str], None] = _ignore

    def start(self) -> None:
        self._loop.add_reader(self._fd, self._read)
        self._loop.call_soon(self._read)  # what came with the handshake is in the TLS library, not in the socket

    def send(self, *parts: bytes | memoryview) -> None:
        """In order; what is sent in one turn of the loop goes out together. Nothing after `close`."""
        if not self._is_open:
            return
        for part in parts:
            if part:
                self._queue.append(part)
                self.unsent_bytes += len(part)
        if not self._is_writing and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Without `lost`."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._queue.clear()
            self.unsent_bytes = 0
            self._stream.close()

    def _fail(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self.lost(reason)

    def _read(self) -> None:
        for _ in range(READS_PER_TURN):
            size, why = self._fill()
            if size:
                self.received_bytes += size
                self.received(self._view[:size])
            if not self._is_open:
                return
            if why:
                self._fail(why)
                return
            if size < READ_BYTES:
                return
        self._loop.call_soon(self._read)

    def _fill(self) -> tuple[int, str]:
        """As many records as there are and as fit; how many bytes, and why there is no more of them ever."""
        size = 0
        while size < READ_BYTES:
            try:
                count = self._stream.recv_into(self._view[size:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                return size, f"the connection broke: {error.strerror or error}"
            if not count:
                return size, "the other node closed the connection"
            size += count
        return size, ""

    def _flush(self) -> None:
        self._is_scheduled = False
        if not self._is_open:
            return
        try:
            while self._queue:
                self._write(self._next_piece())
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._fd, self._flush)
            return
        except OSError as error:
            self._fail(f"the connection broke: {error.strerror or error}")
            return
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._fd)

    def _next_piece(self) -> bytes | memoryview:
        """Small parts are joined, so that each is not a record of its own."""
        if len(self._queue) == 1 or len(self._queue[0]) >= MAX_PIECE_BYTES:
            return self._queue[0]
        joined = bytearray(self._queue.popleft())
        while self._queue and len(joined) + len(self._queue[0]) <= MAX_PIECE_BYTES:
            joined += self._queue.popleft()
        self._queue.appendleft(bytes(joined))
        return self._queue[0]

    def _write(self, piece: bytes | memoryview) -> None:
        written = self._stream.send(piece)
        self.unsent_bytes -= written
        self.sent_bytes += written
        if written == len(piece):
            self._queue.popleft()
        else:
            self._queue[0] = memoryview(piece)[written:]


def _ignore(_: object) -> None:
    """Nobody listens yet."""


Accepted = Callable[[Link], None]


class Listener:
    """Listens from its making on; lets nobody in while `peer` is unknown or `wanted` says no."""

    def __init__(
        self,
        identity: Identity,
        addresses: Sequence[str],
        port: int,
        wanted: Callable[[], bool],
        accepted: Accepted,
        timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._identity = identity
        self._wanted = wanted
        self._accepted = accepted
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | None = None
        self._greetings: set[asyncio.Task[None]] = set()
        self._sockets = _listen(addresses, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.refused_count = 0
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def trust(self, peer: bytes) -> None:
        self._context = self._identity.context(peer, server=True)

    def close(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        for task in self._greetings:
            task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        try:
            stream, address = listening.accept()
        except OSError:
            return
        if self._context is None or not self._wanted() or len(self._greetings) >= MAX_STRANGERS:
            self.refused_count += 1
            stream.close()
            return
        stream.setblocking(False)
        task = self._loop.create_task(self._greet(stream, str(address[0]), self._context))
        self._greetings.add(task)
        task.add_done_callback(self._greetings.discard)

    async def _greet(self, stream: socket.socket, address: str, context: ssl.SSLContext) -> None:
        try:
            link = await _secure(stream, context, address, self._timeout_s, server=True)
        except (OSError, TimeoutError):
            self.refused_count += 1
            return
        if self._wanted():
            self._accepted(link)
        else:
            link.close()


def _listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """One port on all of them. ConfigError when it cannot be had."""
    made: list[socket.socket] = []
    try:
        for address in addresses or ("",):
            made.append(_listen_on(address, port or (made[0].getsockname()[1] if made else 0)))
    except OSError as error:
        for one in made:
            one.close()
        where = f"{address or 'any address'} port {port}"
        raise ConfigError(
            f"rfs cannot listen on {where}: {error.strerror or error}",
            hint="another program may have the port; choose another with `port:`, or 0 for any",
        ) from error
    return made


def _listen_on(address: str, port: int) -> socket.socket:
    is_any = not address
    family = socket.AF_INET6 if (is_any and socket.has_ipv6) or ":" in address else socket.AF_INET
    try:
        listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:
        if not is_any:
            raise
        family, listening = socket.AF_INET, socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_any else 1)
        listening.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
        listening.listen(ESTABLISHED_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class Dialer:
    """Connects to the first of the addresses that answers, again and again while it is on, one connection at a time."""

    def __init__(self, identity: Identity, accepted: Accepted, timeout_s: float) -> None:
        self._identity = identity
        self._accepted = accepted
        self._timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self.why_not = ""
        """What the last attempt failed with."""

    def dial(self, addresses: Sequence[tuple[str, int]], peer: bytes) -> None:
        """From now on, instead of what was dialled before."""
        self.stop()
        self._idle.set()
        context = self._identity.context(peer, server=False)
        self._task = asyncio.get_running_loop().create_task(self._run(tuple(addresses), context))

    def released(self) -> None:
        """The connection that was handed over is gone: another is made."""
        self._idle.set()

    def stop(self) -> None:
        if self._task:
            self._task.cancel()
            self._task = None

    async def _run(self, addresses: tuple[tuple[str, int], ...], context: ssl.SSLContext) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            await self._idle.wait()
            link = await self._first(addresses, context)
            if link:
                self._idle.clear()
                pause_s = RETRY_FIRST_S
                self.why_not = ""
                self._accepted(link)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, RETRY_LAST_S)

    async def _first(self, addresses: tuple[tuple[str, int], ...], context: ssl.SSLContext) -> Link | None:
        for host, port in addresses:
            try:
                return await self._connect(host, port, context)
            except TimeoutError:
                self.why_not = f"{host} port {port} does not answer"
            except OSError as error:
                self.why_not = f"{host} port {port}: {error.strerror or error}"
        return None

    async def _connect(self, host: str, port: int, context: ssl.SSLContext) -> Link:
        loop = asyncio.get_running_loop()
        family, kind, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
        stream = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        stream.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(stream, address), HANDSHAKE_S)
        except BaseException:
            stream.close()
            raise
        return await _secure(stream, context, host, self._timeout_s, server=False)


async def _secure(
    stream: socket.socket, context: ssl.SSLContext, address: str, timeout_s: float, *, server: bool
) -> Link:
    """TLS over it within HANDSHAKE_S; closed when that fails."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
    secured: ssl.SSLSocket | None = None
    try:
        secured = context.wrap_socket(
            stream, server_side=server, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        await asyncio.wait_for(_shake(secured), HANDSHAKE_S)
        return Link(secured, address)
    except BaseException:
        with contextlib.suppress(OSError):
            (secured or stream).close()
        raise


async def _shake(stream: ssl.SSLSocket) -> None:
    while True:
        try:
            return stream.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(stream, write=False)
        except ssl.SSLWantWriteError:
            await _ready(stream, write=True)


async def _ready(stream: ssl.SSLSocket, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    fd = stream.fileno()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(fd, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        remove(fd)
