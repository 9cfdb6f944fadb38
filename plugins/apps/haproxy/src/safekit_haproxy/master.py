"""Asks HAProxy by the socket of its master process, which safekit makes, and which hands questions on to the worker.

https://docs.haproxy.org/2.6/management.html#9.4
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from safekit_sdk import Verdict

_MAX_BYTES: Final = 1 << 20
_WORKER: Final = "worker"


async def say(socket: Path, command: str, timeout_s: float) -> str:
    """What it answers; OSError or TimeoutError."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(f"{command}\n".encode())
            writer.write_eof()
            said = b""
            while len(said) < _MAX_BYTES and (part := await reader.read(65536)):
                said += part
            return said.decode(errors="replace")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(socket: Path, timeout_s: float) -> Verdict:
    """Up when the worker, which has the clients, tells its own figures."""
    try:
        said = await say(socket, "@1 show info", timeout_s)
    except TimeoutError:
        return Verdict.down(f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Verdict.down(f"no answer: {error.strerror or error}")
    known = dict(line.partition(": ")[::2] for line in said.splitlines())
    if "Uptime_sec" not in known:
        return Verdict.down(f"the worker does not answer: {said.strip()[:200]}")
    return Verdict.up(f"worker {known.get('Pid', '')} answers")


async def worker(socket: Path, timeout_s: float) -> int:
    """The process that takes new clients; 0 when there is none. Those of an earlier reload are listed below it."""
    said = await say(socket, "show proc", timeout_s)
    for line in said.partition("# old workers")[0].splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[1] == _WORKER:
            return int(fields[0])
    return 0
