"""Asks a server whether it lets anybody in, in its own protocol: the error code says why not, in every language.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from enum import StrEnum
from pathlib import Path
from typing import Final

_PROTOCOL: Final = 3 << 16
_MAX_BYTES: Final = 30000
_STARTING: Final = "57P03"
_RESOURCES: Final = "53"


class Knock(StrEnum):
    OPEN = "lets clients in"
    RECOVERING = "in recovery, or about to stop"
    FULL = "short of connections or memory"
    REFUSED = "refuses"
    SILENT = "does not answer"


async def knock(socket: Path, user: str, timeout_s: float) -> tuple[Knock, str]:
    """What it says, and its words."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(socket, user)
    except TimeoutError:
        return Knock.SILENT, f"no answer within {timeout_s:g} s"
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        return Knock.SILENT, str(error)


async def _exchange(socket: Path, user: str) -> tuple[Knock, str]:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        body = struct.pack("!I", _PROTOCOL) + b"user\0" + user.encode() + b"\0database\0postgres\0\0"
        writer.write(struct.pack("!I", len(body) + 4) + body)
        await writer.drain()
        kind, size_bytes = struct.unpack("!cI", await reader.readexactly(5))
        if kind == b"R":
            return Knock.OPEN, ""
        if kind != b"E" or not 4 <= size_bytes <= _MAX_BYTES:
            raise ValueError("what answers is not PostgreSQL")
        return _judge(await reader.readexactly(size_bytes - 4))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _judge(error: bytes) -> tuple[Knock, str]:
    """Fields of one letter and a text each; C is the code and M the message. Not to let this process in by its
    account or password (class 28) is to let others in."""
    fields = {field[:1]: field[1:].decode(errors="replace") for field in error.split(b"\0") if field}
    code, words = fields.get(b"C", ""), fields.get(b"M", "")[:500]
    if code == _STARTING:
        return Knock.RECOVERING, words
    if code.startswith(_RESOURCES):
        return Knock.FULL, words
    if code.startswith("28"):
        return Knock.OPEN, words
    return Knock.REFUSED, f"{words} ({code})"
