"""One question and its answer on a connection of its own: bounded in time, in headers and in body."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import h11

from safekit_checker_http import tls
from safekit_sdk.connect import OwnTroubleError, SilentError, connect, explain

BODY_MAX_BYTES: Final = 1 << 20
HEAD_MAX_BYTES: Final = 32768
"""Status line and headers."""
_CHUNK_BYTES: Final = 16384


@dataclass(frozen=True, slots=True)
class Question:
    url: str
    method: str
    headers: Mapping[str, str]
    """Host is among them."""
    server_name: str
    """Whom the certificate must be for."""
    tls: ssl.SSLContext | None
    socket: Path | None = None
    """Asked instead of the url's host and port."""

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.parts.scheme == "https" else 80)

    @property
    def target(self) -> str:
        return (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    location: str | None
    body: bytes
    """The first BODY_MAX_BYTES."""
    days_left: float | None
    """Of the server's certificate."""


async def ask(question: Question, patience_s: float) -> Reply:
    """SilentError when the server was seen not to answer well, OwnTroubleError when it could not be asked."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    try:
        async with asyncio.timeout(patience_s), _connection(question, deadline_s) as (reader, writer):
            certificate = writer.get_extra_info("peercert")
            return await _converse(question, reader, writer, tls.days_left(certificate))
    except ssl.SSLError as error:
        raise SilentError(tls.in_words(error)) from None
    except (h11.RemoteProtocolError, asyncio.IncompleteReadError) as error:
        raise SilentError(f"what it answers is not HTTP: {error}") from None
    except OSError as error:
        raise explain(error) from None


@asynccontextmanager
async def _connection(
    question: Question, deadline_s: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    opened = await _opened(question, deadline_s - asyncio.get_running_loop().time())
    try:
        secured: dict[str, Any] = {}
        if question.tls is not None:
            secured = {"ssl": question.tls, "server_hostname": question.server_name}
        reader, writer = await asyncio.open_connection(sock=opened, **secured)
    except BaseException:
        opened.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _opened(question: Question, patience_s: float) -> socket.socket:
    if question.socket is None:
        return await connect(question.parts.hostname or "", question.port, patience_s)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        opened.connect(str(question.socket))  # of a unix socket this is done, or refused, at once
    except OSError as error:
        opened.close()
        if isinstance(error, FileNotFoundError | BlockingIOError):
            how = "accepts no more connections" if isinstance(error, BlockingIOError) else "is not there"
            raise SilentError(f"the socket {question.socket} {how}") from None
        raise
    return opened


async def _converse(
    question: Question, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, days_left: float | None
) -> Reply:
    machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX_BYTES)
    headers = [(name, value) for name, value in question.headers.items()]
    request = h11.Request(method=question.method, target=question.target, headers=headers)
    writer.write((machine.send(request) or b"") + (machine.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    status, location, body = 0, None, bytearray()
    while True:
        event = machine.next_event()
        if event is h11.NEED_DATA:
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk and not status and not machine.trailing_data[0]:
                raise SilentError("it closed the connection without an answer")
            machine.receive_data(chunk)
        elif isinstance(event, h11.Response):
            status = event.status_code
            location = dict(event.headers).get(b"location", b"").decode("ascii", errors="replace") or None
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) >= BODY_MAX_BYTES:
                break
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    return Reply(status, location, bytes(body[:BODY_MAX_BYTES]), days_left)


__all__ = ["OwnTroubleError", "Question", "Reply", "SilentError", "ask"]
