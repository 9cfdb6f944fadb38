"""Real listeners on loopback, and network namespaces that end with the thread that made them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import Verdict

CLONE_NEWNET = 0x40000000
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving_on_loopback(talk: Talk | None = None) -> AsyncIterator[int]:
    """The port of a real server; without `talk` it accepts and says nothing."""

    talks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            talks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await (talk(reader, writer) if talk else reader.read())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def run_in_namespace(work: Callable[[], Coroutine[Any, Any, Verdict]], *setup: str) -> Verdict:
    """Run the coroutine in a new network namespace, after the commands."""
    outcome: Future[Verdict] = Future()

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            for command in ("ip link set lo up", *setup):
                subprocess.run(command.split(" "), check=True, capture_output=True, timeout=10)
            outcome.set_result(asyncio.run(work()))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome.result()


@pytest.fixture
def serving() -> Any:
    return serving_on_loopback


@pytest.fixture
def in_namespace() -> Any:
    return run_in_namespace


@pytest.fixture
def open_descriptors() -> Callable[[], list[str]]:
    """What this process has open, to compare before and after."""
    return lambda: sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback that nothing listens on, held so that nothing will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
