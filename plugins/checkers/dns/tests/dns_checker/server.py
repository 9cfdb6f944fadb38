"""A real DNS server on loopback, UDP and TCP, that answers what a test wants. Its messages are built here, by no code
of the checker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
QR, TC, RD = 0x8000, 0x0200, 0x0100
Reply = bytes | Sequence[bytes]
"""What is sent back: nothing for an empty one."""
Answering = Callable[[bytes], Reply]


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def record(owner: bytes, kind: str | int, data: bytes, size: int | None = None) -> bytes:
    number = KINDS[kind] if isinstance(kind, str) else kind
    return owner + struct.pack("!HHIH", number, 1, 60, len(data) if size is None else size) + data


def question(query: bytes) -> bytes:
    return query[12:]


def answer(query: bytes, *records: bytes, flags: int = QR, code: int = 0, count: int | None = None) -> bytes:
    """The question repeated, and these records."""
    number = len(records) if count is None else count
    return query[:2] + struct.pack("!HHHHH", flags | code, 1, number, 0, 0) + question(query) + b"".join(records)


def address(*texts: str, owner: bytes = b"\xc0\x0c") -> Callable[[bytes], bytes]:
    """Answers these addresses; by default of the name that is asked for, by a pointer to it."""
    data = [(("AAAA", socket.AF_INET6) if ":" in text else ("A", socket.AF_INET), text) for text in texts]
    records = [record(owner, kind, socket.inet_pton(family, text)) for (kind, family), text in data]
    return lambda query: answer(query, *records)


@dataclass
class Server:
    """`answering` (and for TCP `over_tcp`, where it differs) may be changed while it runs."""

    answering: Answering
    over_tcp: Answering | None = None
    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    asked_over_tcp: int = 0


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.asked.append(data)
        reply = self._server.answering(data)
        for packet in [reply] if isinstance(reply, bytes) else reply:
            if packet:
                self._transport.sendto(packet, addr)


@contextlib.asynccontextmanager
async def serving(answering: Answering, over_tcp: Answering | None = None, port: int = 0) -> AsyncIterator[Server]:
    server = Server(answering, over_tcp)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(size)
            server.asked_over_tcp += 1
            reply = (server.over_tcp or server.answering)(query)
            if isinstance(reply, bytes):
                reply = (len(reply).to_bytes(2, "big") + reply,)
            for piece in reply:
                writer.write(piece)
            await writer.drain()
            if not reply:
                await ended.wait()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", port)
    server.port = listener.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), ("127.0.0.1", server.port))
    try:
        yield server
    finally:
        ended.set()
        datagrams.close()
        listener.close()
        await listener.wait_closed()
        await asyncio.sleep(0)
