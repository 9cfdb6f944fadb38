"""The data path's control socket: one line of JSON is one request, one line is its answer.

`{"do": "promote", "epoch": 7}` is answered with `{"ok": {…}}` or `{"error": "…", "hint": "…"}`; `watch` with a line for
each change of the status. Sockets are reached by descriptor, as their paths may be longer than a socket's address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from safekit_sdk import ConfigError, PeerError, SafekitError

_LOG: Final = logging.getLogger(__name__)
SOCKET: Final = "control"
MAX_LINE_BYTES: Final = 1 << 20
MAX_CONNECTIONS: Final = 32
ANSWER_S: Final = 15.0
"""What a caller waits for, unless it says otherwise."""
IDLE_S: Final = 60.0
Request = Mapping[str, Any]
Perform = Callable[[Request], Awaitable[Mapping[str, Any]]]
Watch = Callable[[], AsyncIterator[Mapping[str, Any]]]


class PeerGoneError(PeerError):
    """It ended, or gave way to another program, before it answered."""


class ControlServer:
    """Serves until closed. A socket that an ended process left is replaced."""

    def __init__(self, directory: Path, perform: Perform, watch: Watch) -> None:
        self._directory = directory
        self._perform = perform
        self._watch = watch
        self._server: asyncio.Server | None = None
        self.fd = -1
        """Of the socket that listens; its own, so that it can be handed over."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, descriptor: int = -1) -> None:
        """`descriptor`: of the socket that another program listened at."""
        listening = socket.socket(fileno=descriptor) if descriptor >= 0 else self._listen()
        self.fd = os.dup(listening.fileno())
        self._server = await asyncio.start_unix_server(self._meet, sock=listening, limit=MAX_LINE_BYTES)

    def _listen(self) -> socket.socket:
        (self._directory / SOCKET).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with _address(self._directory) as address:
                listening.bind(address)
        finally:
            os.umask(before)
        return listening

    async def close(self) -> None:
        (self._directory / SOCKET).unlink(missing_ok=True)
        if self._server:
            self._server.close()
            os.close(self.fd)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            if len(self._tasks) <= MAX_CONNECTIONS:
                await self._converse(reader, writer)
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            pass  # the caller has gone, said too much or nothing, or we end
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await _line(reader):
            request = _parse(line)
            if request.get("do") == "watch":
                await self._tell(writer)
                return
            await _write(writer, await self._answer(request))

    async def _answer(self, request: Request) -> Mapping[str, Any]:
        try:
            return {"ok": await self._perform(request)}
        except SafekitError as error:
            return {"error": error.message, "hint": error.hint}
        except OSError as error:
            return {"error": f"{request.get('do')}: {error.strerror or error}", "hint": ""}
        except Exception as error:  # the top loop's door: whoever asked is told, and the data path goes on
            _LOG.exception("request %s failed", request.get("do"))
            return {"error": f"{request.get('do')}: {error!r}", "hint": "this is a defect of safekit; please report it"}

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        async for status in self._watch():
            await _write(writer, {"ok": status})


def _parse(line: bytes) -> Request:
    """ValueError when it is not an object with a word `do`."""
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("do"), str):
        raise ValueError("not a request")
    return found


async def _line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_S):
        return await reader.readline()


async def _write(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(ANSWER_S):
        await writer.drain()


@contextlib.contextmanager
def _address(directory: Path) -> Iterator[str]:
    """The socket's path, short however long the directory's is. OSError when that is not there."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


async def _connect(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with _address(directory) as address:
        return await asyncio.open_unix_connection(address, limit=MAX_LINE_BYTES)


async def ask(directory: Path, request: Request, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """The answer of the data path whose socket is in this directory. PeerError when none answers in time; ConfigError
    with what it objects to."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(directory)
            try:
                writer.write(json.dumps(dict(request)).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        raise PeerError(f"the data path did not answer '{request.get('do')}' within {timeout_s:g} s") from None
    except (OSError, ValueError) as error:
        raise PeerError(f"the data path does not answer: {error}", hint="is the module started?") from error
    return _unpack(line)


def _unpack(line: bytes) -> dict[str, Any]:
    if not line:
        raise PeerGoneError("the data path ended before it answered", hint="see its log in the module's run directory")
    answer = json.loads(line)
    if "ok" not in answer:
        raise ConfigError(str(answer.get("error")), hint=str(answer.get("hint", "")))
    found: dict[str, Any] = answer["ok"]
    return found


async def follow(directory: Path) -> AsyncGenerator[dict[str, Any], None]:
    """Each status as it changes, until the data path ends (PeerError)."""
    try:
        reader, writer = await _connect(directory)
    except OSError as error:
        raise PeerError(f"the data path does not answer: {error}") from error
    try:
        writer.write(b'{"do": "watch"}\n')
        while True:
            yield _unpack(await reader.readline())
    except (OSError, ValueError) as error:
        raise PeerError(f"the data path does not answer: {error}") from error
    finally:
        writer.close()
