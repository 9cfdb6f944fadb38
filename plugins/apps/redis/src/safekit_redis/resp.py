"""A client of a few commands, in the server's own protocol.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1 << 20
Place = Path | tuple[str, int]
"""A unix socket, or an address and a port."""


class AnsweredError(Exception):
    """The server answered by an error; its first word is the kind: `NOAUTH`, `LOADING`."""

    @property
    def kind(self) -> str:
        return str(self).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *words: str) -> str:
        """AnsweredError, OSError, or ValueError for what is no answer of this protocol."""
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            raw = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
        self.writer.write(b"".join(parts))
        await self.writer.drain()
        return await self._answer()

    async def _answer(self) -> str:
        line = await self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("it closed the connection")
        kind, text = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise AnsweredError(text[:500])
        if kind in (b"+", b":"):
            return text
        if kind != b"$" or not -1 <= int(text) <= MAX_BYTES:
            raise ValueError(f"no answer to this question: {line[:50]!r}")
        body = await self.reader.readexactly(int(text) + 2) if int(text) >= 0 else b"\r\n"
        return body[:-2].decode(errors="replace")


@contextlib.asynccontextmanager
async def connected(place: Place, account: str | None, password: str | None) -> AsyncIterator[Client]:
    if isinstance(place, Path):
        reader, writer = await asyncio.open_unix_connection(place, limit=MAX_BYTES)
    else:
        reader, writer = await asyncio.open_connection(*place, limit=MAX_BYTES)
    try:
        client = Client(reader, writer)
        if password is not None:
            await client.ask("AUTH", *([account] if account else []), password)
        yield client
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
