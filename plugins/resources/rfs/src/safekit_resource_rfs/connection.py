"""One connection between the two data paths: TLS 1.3 over TCP.

It belongs to the one loop of the data path; TLS records are made in it as well, so that no data is copied between
threads."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from safekit_resource_rfs import turns

HANDSHAKE_S: Final = 5.0
HANDSHAKE_BYTES: Final = 64 << 10
"""More than both certificates take."""
READ_BYTES: Final = 1 << 18
READS_PER_TURN: Final = 8
"""Then others have their turn, above all the file system."""
MAX_PIECE_BYTES: Final = 1 << 17
LATE_S: Final = 0.001
LATE_BYTES: Final = 1 << 16
"""How long, and how much, that nobody waits for may stay behind."""
MAX_UNSENT_BYTES: Final = 256 << 20
"""More than the window and what is asked and answered beside it."""


@dataclass(frozen=True, slots=True)
class Tls:
    """A session of TLS over two buffers in memory: one call of the system for many records, either way."""

    session: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


class Link:
    """Authenticated. `received` and `lost` are set before `start`; after `lost` nothing comes any more."""

    def __init__(self, stream: socket.socket, tls: Tls, peer_address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns = turns.running()
        self._stream = stream
        self._fd = stream.fileno()
        self._tls = tls
        self._raw = memoryview(bytearray(READ_BYTES))
        self._plain = memoryview(bytearray(READ_BYTES))
        self._queue: deque[bytes | memoryview] = deque()
        self._secured = memoryview(b"")
        """What the socket had no room for."""
        self._secured_bytes = 0
        """What it is of."""
        self._is_scheduled = False
        self._is_late = False
        self._is_open = True
        self.peer_address = peer_address
        self.unsent_bytes = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.received: Callable[[memoryview], None] = _ignore
        """What it is given is overwritten afterwards."""
        self.lost: Callable[[str], None] = _ignore

    def fileno(self) -> int:
        return self._fd

    def start(self) -> None:
        self._turns.watch(self._fd, self._read)
        self._loop.call_soon(self._deliver)  # what came with the handshake

    def send(self, *parts: bytes | memoryview, is_awaited: bool = True) -> None:
        """In order; what is sent in one turn of the loop goes out together, and a little that nobody waits for goes
        with what follows soon. Nothing after `close`. A peer that does not read loses the connection."""
        if not self._is_open:
            return
        if self.unsent_bytes > MAX_UNSENT_BYTES:
            self._loop.call_soon(self._fail, "the other node does not read what it is sent")
            return
        for part in parts:
            if part:
                self._queue.append(part)
                self.unsent_bytes += len(part)
        if is_awaited or self.unsent_bytes >= LATE_BYTES:
            self._schedule()
        elif not self._is_late:
            self._is_late = True
            self._loop.call_later(LATE_S, self._hurry)

    def _hurry(self) -> None:
        self._is_late = False
        if self._queue:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._secured:
            self._is_scheduled = True
            self._turns.at_end(self._flush)

    def close(self) -> None:
        """Without `lost`."""
        if self._is_open:
            self._is_open = False
            self._turns.unwatch(self._fd)
            self._queue.clear()
            self.unsent_bytes = 0
            self._stream.close()

    def _fail(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self.lost(reason)

    def _read(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                size = self._stream.recv_into(self._raw)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(f"the connection broke: {error.strerror or error}")
                return
            if not size:
                self._fail("the other node closed the connection")
                return
            self._tls.incoming.write(self._raw[:size])
            self._deliver()
            if size < READ_BYTES or not self._is_open:
                return

    def _deliver(self) -> None:
        """All that is whole of what has come."""
        why, size = "", READ_BYTES
        while size == READ_BYTES and self._is_open and not why:
            size, why = self._fill()
            if size:
                self.received_bytes += size
                self.received(self._plain[:size])
        if why:
            self._fail(why)
        elif self._is_open and self._tls.outgoing.pending:  # TLS answers something of its own
            self._schedule()

    def _fill(self) -> tuple[int, str]:
        """As many records as there are and as fit; how many bytes, and why there is no more of them ever."""
        size, tls = 0, self._tls
        while size < READ_BYTES and (tls.incoming.pending or tls.session.pending()):
            try:
                count = cast("int", tls.session.read(READ_BYTES - size, self._plain[size:]))
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
        try:
            while self._is_open and (self._secured or self._queue or self._tls.outgoing.pending):
                if not self._secured:
                    self._secure()
                count = self._stream.send(self._secured)
                if count < len(self._secured):
                    self._secured = self._secured[count:]
                    continue
                self.unsent_bytes -= self._secured_bytes
                self.sent_bytes += self._secured_bytes
                self._secured, self._secured_bytes = memoryview(b""), 0
        except BlockingIOError:
            self._turns.await_room(self._fd, self._flush)
        except OSError as error:
            self._fail(f"the connection broke: {error.strerror or error}")
        else:
            if self._is_open:
                self._turns.await_room(self._fd, None)

    def _secure(self) -> None:
        """The next of the queue, as records of TLS. Small parts are joined, so that each is not a record of its own;
        large ones go piece by piece, so that the other side has something to do meanwhile."""
        if self._queue:
            piece = self._next_piece()
            self._secured_bytes = len(piece)
            while piece:  # a record at a time
                piece = piece[self._tls.session.write(piece) :]
        self._secured = memoryview(self._tls.outgoing.read())

    def _next_piece(self) -> memoryview:
        piece = memoryview(self._queue.popleft())
        if len(piece) > MAX_PIECE_BYTES:
            self._queue.appendleft(piece[MAX_PIECE_BYTES:])
            return piece[:MAX_PIECE_BYTES]
        if self._queue and len(piece) + len(self._queue[0]) <= MAX_PIECE_BYTES:
            joined = bytearray(piece)
            while self._queue and len(joined) + len(self._queue[0]) <= MAX_PIECE_BYTES:
                joined += self._queue.popleft()
            return memoryview(joined)
        return piece


def _ignore(_: object) -> None:
    """Nobody listens yet."""


async def secure(
    stream: socket.socket,
    context: ssl.SSLContext,
    address: str,
    timeout_s: float,
    heard: Callable[[], None],
    *,
    server: bool,
) -> Link:
    """TLS over it within HANDSHAKE_S; closed when that fails. `heard` is called when the other side says something."""
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = Tls(context.wrap_bio(incoming, outgoing, server_side=server), incoming, outgoing)
        async with asyncio.timeout(HANDSHAKE_S):
            await _shake(stream, tls, heard)
        return Link(stream, tls, address)
    except BaseException:
        stream.close()
        raise


async def _shake(stream: socket.socket, tls: Tls, heard: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    received_bytes = 0
    while True:
        try:
            is_done = _step(tls)
        finally:  # an alert too
            if said := tls.outgoing.read():
                await loop.sock_sendall(stream, said)
        if is_done:
            return
        came = await loop.sock_recv(stream, HANDSHAKE_BYTES)
        received_bytes += len(came)
        if not came or received_bytes > HANDSHAKE_BYTES:
            raise ConnectionError("the other side broke the handshake off")
        heard()
        tls.incoming.write(came)


def _step(tls: Tls) -> bool:
    """Whether both sides have proved their keys, as far as this one can know."""
    try:
        tls.session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
