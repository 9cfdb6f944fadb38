"""Stands between the witness and etcd: writes down each request, and can lose the answer to one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Proxy:
    upstream: str
    url: str = ""
    lose: int = 0
    """The number of the request, from 1, whose answer is not passed on: etcd has done it, and the connection ends."""
    before: tuple[int, Callable[[], Awaitable[None]]] | None = None
    """The number of the request before which this happens."""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._pass_one(reader, writer)

    async def _pass_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-len"))
        body = await reader.readexactly(length)
        path = head.split()[1]
        self.requests.append((path, json.loads(body)))
        number = len(self.requests)
        if self.before and self.before[0] == number:
            await self.before[1]()
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:
            answer = await client.post(self.upstream + path, content=body)
        if number == self.lose:
            raise ConnectionResetError
        size = len(answer.content)
        writer.write(f"HTTP/1.1 {answer.status_code} Z\r\ncontent-length: {size}\r\n\r\n".encode() + answer.content)
        await writer.drain()


@contextlib.asynccontextmanager
async def a_proxy(upstream: str, **settings: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(upstream, **settings)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
