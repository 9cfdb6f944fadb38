"""The local control socket: how the command line and the console reach the daemon of their own node.

Access is the directory's mode (0700, root): who may open the socket may do everything.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from safekit.bus import messages, sockets
from safekit.bus.messages import Answer, Call
from safekit_sdk import ConfigError, PeerError

OnCall = Callable[[Call], Awaitable[Answer]]
MAX_CALLS_AT_ONCE = 64
_LONGEST_PATH_BYTES = 100


def _address(path: Path) -> str:
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise ConfigError(f"the socket path {path} is too long for a unix socket", hint="choose a shorter SAFEKIT_RUN")
    return f"ipc://{path}"


class ControlServer:
    def __init__(self, context: zmq.asyncio.Context, path: Path, on_call: OnCall) -> None:
        self._socket = sockets.local_server(context, max_bytes=messages.MAX_CALL_BYTES + 4096)
        self._path = path
        self._on_call = on_call
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand = asyncio.Semaphore(MAX_CALLS_AT_ONCE)

    def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        self._socket.bind(_address(self._path))
        self._path.chmod(0o600)
        self._spawn(self._serve())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close(0)
        self._path.unlink(missing_ok=True)  # who calls from now on is told at once that nobody listens

    async def _serve(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            if len(frames) != 2:
                continue
            try:
                call = messages.decode(messages.CALL, frames[1], messages.MAX_CALL_BYTES)
            except PeerError as error:
                self._reply(frames[0], Answer(id="", error=messages.error_body(error)))
                continue
            self._spawn(self._answer(frames[0], call))

    async def _answer(self, identity: bytes, call: Call) -> None:
        async with self._in_hand:
            answer = await self._on_call(call)
        self._reply(identity, answer)

    def _reply(self, identity: bytes, answer: Answer) -> None:
        """Lost when the caller is gone."""
        sockets.send_now(self._socket, identity, messages.encode(answer))


class ControlClient:
    """Blocking calls for the command line; one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.maxmsgsize = messages.MAX_CALL_BYTES + 4096
        self._ids = itertools.count(1)
        self._connected = False

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close(0)
        self._context.term()

    def call(self, op: str, args: dict[str, Any] | None = None, *, timeout_s: float = 30.0) -> Any:
        """Return the daemon's result. PeerError when no daemon runs here, TimeoutError, or the daemon's own error."""
        self._connect()
        call = Call(id=f"{os.getpid()}-{next(self._ids)}", op=op, args=args or {})
        self._socket.send(messages.encode(call))
        answer = self._receive(call, timeout_s)
        if answer.error is not None:
            messages.raise_body(answer.error)
        return answer.result

    def _connect(self) -> None:
        if self._connected:
            return
        if not self._path.is_socket():
            raise PeerError(
                f"no safekitd runs on this node (no socket {self._path})", hint="start it with `safekit daemon start`"
            )
        self._socket.connect(_address(self._path))
        self._connected = True

    def _receive(self, call: Call, timeout_s: float) -> Answer:
        if not self._socket.poll(int(timeout_s * 1000)):
            raise TimeoutError(f"the daemon did not answer '{call.op}' within {timeout_s:g} s")
        return messages.decode(messages.ANSWER, self._socket.recv(), messages.MAX_CALL_BYTES)
