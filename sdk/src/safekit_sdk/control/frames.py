"""One message on a stream: its length in four bytes, then the bytes."""

from __future__ import annotations

import asyncio
import struct

from safekit_sdk.control.messages import MAX_CALL_BYTES
from safekit_sdk.errors import PeerError

HEAD = struct.Struct("!I")


class CallTooLargeError(PeerError):
    """Told before a byte of it is read or sent."""


def length(head: bytes) -> int:
    """CallTooLargeError when it is more than anybody may send."""
    (size,) = HEAD.unpack(head)
    return int(_checked(size))


def frame(data: bytes) -> bytes:
    return HEAD.pack(_checked(len(data))) + data


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """asyncio.IncompleteReadError when the other side is gone before its end."""
    return await reader.readexactly(length(await reader.readexactly(HEAD.size)))


def _checked(size: int) -> int:
    if size > MAX_CALL_BYTES:
        raise CallTooLargeError(f"a message of {size} bytes is over the limit of {MAX_CALL_BYTES}")
    return size
