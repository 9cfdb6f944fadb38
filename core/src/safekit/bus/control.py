"""The local control socket: how the command line and the console reach the daemon of their own node.

Who may connect is the mode of the socket and its directory: root, and members of one group. Who it is that calls, the
kernel says: the console's own user has that group as its first, services that only watch are members beside their own.
What a caller who is not root may ask for is decided by the operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from typing import Final

from safekit.bus import messages
from safekit.bus.messages import Answer, Call
from safekit_sdk import PeerError
from safekit_sdk.control import CALL, CallTooLargeError, frame, open_to_group, read_frame, socket_address


class Caller(Enum):
    ROOT = "root"
    CONSOLE = "console"
    WATCHER = "watcher"


OnCall = Callable[[Call, Caller], Awaitable[Answer]]
ROOTS_CALLS: Final = 64
OTHERS_CALLS: Final = 24
"""At once; of all callers together that are not root, so that they can never keep root out."""
OTHERS_READ: Final = 4
"""So many calls of theirs are received at once, each up to the largest size."""
SEND_S: Final = 10.0
"""A caller that takes longer to say what it wants, or to hear the answer, is hung up on."""
_CREDENTIALS: Final = struct.Struct("3i")


class ControlServer:
    def __init__(self, path: Path, on_call: OnCall, group_id: int | None = None) -> None:
        self._path = path
        self._on_call = on_call
        self._group_id = group_id
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand = {True: asyncio.Semaphore(ROOTS_CALLS), False: asyncio.Semaphore(OTHERS_CALLS)}
        self._reading = {True: asyncio.Semaphore(ROOTS_CALLS), False: asyncio.Semaphore(OTHERS_READ)}

    async def start(self) -> None:
        address = socket_address(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, address)
        open_to_group(self._path, self._group_id)

    async def close(self) -> None:
        self._path.unlink(missing_ok=True)  # who calls from now on is told at once that nobody listens
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = self._caller(writer)
        by_root = caller is Caller.ROOT
        if not by_root and self._in_hand[False].locked():
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, caller: Caller) -> None:
        """One call. A caller that is gone, or too slow, is nobody's trouble but its own."""
        by_root = caller is Caller.ROOT
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, OSError):
                async with self._in_hand[by_root]:
                    answer = await self._answer(reader, caller)
                    async with asyncio.timeout(SEND_S):
                        writer.write(frame(messages.encode(answer)))
                        await writer.drain()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, caller: Caller) -> Answer:
        try:
            async with asyncio.timeout(SEND_S), self._reading[caller is Caller.ROOT]:
                call = messages.decode(CALL, await read_frame(reader), messages.MAX_CALL_BYTES)
        except (PeerError, CallTooLargeError) as error:
            return Answer(id="", error=messages.error_body(error))
        return await self._on_call(call, caller)

    def _caller(self, writer: asyncio.StreamWriter) -> Caller:
        link: socket.socket = writer.get_extra_info("socket")
        given = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, gid = _CREDENTIALS.unpack(given)
        if uid == 0:
            return Caller.ROOT
        try:
            own_gid = self._path.stat().st_gid  # `console setup` may have opened it since the start
        except OSError:
            return Caller.WATCHER
        return Caller.CONSOLE if gid == own_gid else Caller.WATCHER
