"""A question to a Python program of ours in a process of its own, which is gone when this returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from safekit_sdk import InternalError


async def ask_child(words: tuple[str, ...], request: bytes, *, time_s: float, limit_bytes: int) -> bytes:
    """Its output, cut off where it is longer than an answer may be; TimeoutError. `words`: after `python -m`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(time_s):
            return await _exchange(process, request, limit_bytes)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _exchange(process: asyncio.subprocess.Process, request: bytes, limit_bytes: int) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise InternalError("a child process has no pipes")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
    parts, size = [], 0
    while size <= limit_bytes and (part := await process.stdout.read(65536)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
