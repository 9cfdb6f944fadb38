"""The sockets between the daemon and the hosts of its modules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import zmq.asyncio

from safekit.bus import messages, sockets
from safekit.bus.messages import Message
from safekit_sdk import PeerError

log = structlog.get_logger("bus")
OnMessage = Callable[[str, Any], None]


def stall_file(socket: Path, module: str) -> Path:
    """Where a host that does not turn any more says what keeps it, beside the socket that it cannot speak through."""
    return socket.parent / "stalls" / module


class HostServer:
    """The daemon's end. A host's identity is `module/nonce`, given to it by the daemon that spawned it."""

    def __init__(self, context: zmq.asyncio.Context, path: Path, on_message: OnMessage) -> None:
        self._socket = sockets.local_server(context, max_bytes=messages.MAX_HOST_BYTES)
        self._socket.router_mandatory = True
        self._path = path
        self._on_message = on_message
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Return what serves from now on; its end is a defect."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        self._socket.bind(f"ipc://{self._path}")
        self._path.chmod(0o600)
        self._task = asyncio.create_task(self._serve(), name="hosts")
        return self._task

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close(0)

    def send(self, identity: str, message: Message) -> bool:
        """False when the host is not connected, or its queue is full because it hangs."""
        return sockets.send_now(self._socket, identity.encode(), messages.encode(message))

    async def _serve(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            if len(frames) != 2:
                continue
            identity = frames[0].decode(errors="replace")
            try:
                message = messages.decode(messages.FROM_HOST, frames[1], messages.MAX_HOST_BYTES)
            except PeerError as error:
                log.warning("a host's message was refused", host=identity, error=error.message)
                continue
            self._on_message(identity, message)


class HostClient:
    """The host's end."""

    def __init__(self, context: zmq.asyncio.Context, path: Path, identity: str) -> None:
        self._socket = sockets.local_client(context, max_bytes=messages.MAX_HOST_BYTES)
        self._socket.identity = identity.encode()
        self._socket.connect(f"ipc://{path}")

    def send(self, message: Message) -> None:
        """Never waits: what does not fit into the queue is lost, and a daemon that far behind kills the host."""
        if not sockets.send_now(self._socket, messages.encode(message)):
            log.error("the queue to the daemon is full; a message was dropped")

    async def receive(self) -> Any:
        return messages.decode(messages.TO_HOST, await self._socket.recv(), messages.MAX_HOST_BYTES)

    def close(self) -> None:
        self._socket.close(0)
