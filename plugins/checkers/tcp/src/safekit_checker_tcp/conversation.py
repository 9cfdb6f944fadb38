"""A question sent and an answer awaited on an open connection."""

from __future__ import annotations

import asyncio
import socket

from safekit_sdk.connect import SilentError, explain

ANSWER_MAX_BYTES = 65536
_SHOWN_BYTES = 60


async def converse(connection: socket.socket, send: bytes, expect: bytes, patience_s: float) -> None:
    """Return when `expect` is within what was answered; SilentError when it does not come. What was sent is not
    told: it may be a password."""
    answer = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            await asyncio.get_running_loop().sock_sendall(connection, send)
            await _read_until(connection, expect, answer)
    except OSError as error:
        raise explain(error, f"accepted the connection, {_told(answer)}, then ") from error


async def _read_until(connection: socket.socket, expect: bytes, answer: bytearray) -> None:
    loop = asyncio.get_running_loop()
    while expect not in answer:
        if len(answer) >= ANSWER_MAX_BYTES:
            raise SilentError(f"{_told(answer)}, and not what is expected in {ANSWER_MAX_BYTES} bytes")
        chunk = await loop.sock_recv(connection, ANSWER_MAX_BYTES - len(answer))
        if not chunk:
            raise SilentError(f"{_told(answer)}, then closed the connection")
        answer += chunk


def _told(answer: bytes | bytearray) -> str:
    start = bytes(answer[:_SHOWN_BYTES]).decode("ascii", errors="backslashreplace")
    return f"answered {start!r}" if answer else "answered nothing"
