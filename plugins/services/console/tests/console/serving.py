"""A console that serves by TLS on loopback, as `safekit-console` does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from safekit_console import parts, server
from safekit_console.parts import Console
from safekit_console.settings import ConsoleSettings


@asynccontextmanager
async def serving_console(settings: ConsoleSettings) -> AsyncIterator[Console]:
    console, end = parts.make(settings), asyncio.Event()
    task = asyncio.create_task(server.run(console, end))
    try:
        async with asyncio.timeout(20):
            while not task.done() and not await _answers(settings.port):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        yield console
    finally:
        end.set()
        await task


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
