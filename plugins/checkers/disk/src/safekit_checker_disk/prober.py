"""Asks a process of its own to look at the file system, and waits no longer than it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safekit_checker_disk import probe
from safekit_sdk.process import open_pidfd, wait_ended
from safekit_sdk.procfs import process_stat

END_S: Final = 1.0
"""How long a killed probe may take to end; one that takes longer hangs in the kernel, until the disk answers."""
Found = dict[str, object]
_hung: list[subprocess.Popen[bytes]] = []
"""Killed probes that had not ended when they were left."""


class StalledError(Exception):
    """The file system did not answer: what was asked of it, and for how long."""


class BlindError(Exception):
    """The file system could not be looked at."""


class Prober:
    """One process, one look at a time. It is kept between looks: to start one could hang as well. A hung look is
    waited for by the next."""

    def __init__(self, path: Path, file: Path | None) -> None:
        self._arguments = [str(path), str(file or "")]
        self._numbers = itertools.count(1)
        self._program: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._asked = ""
        self._asked_s = 0.0
        self._doing = ""

    async def look(self, patience_s: float) -> Found:
        """What was found. StalledError when the file system did not answer in time, and BlindError when the probe
        could not ask it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience_s):
                if self._asked:  # an earlier look, which hung or was cancelled
                    await self._answer()
                channel = self._begun()
                self._asked, self._asked_s, self._doing = str(next(self._numbers)), loop.time(), ""
                await loop.sock_sendall(channel, self._asked.encode())
                return await self._answer()
        except TimeoutError:
            return self._late(loop.time() - self._asked_s, patience_s)
        except OSError as error:
            await self.end()
            raise BlindError(f"the probe cannot run: {error.strerror or error}") from None

    def _begun(self) -> socket.socket:
        """The channel to the process, which is started when there is none."""
        if self._channel is not None:
            return self._channel
        _reap()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _kept_on_success(ours), theirs:
            ours.setblocking(False)
            self._program = subprocess.Popen(
                [sys.executable, "-I", "-S", probe.__file__, *self._arguments],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        self._channel = ours
        return ours

    async def _answer(self) -> Found:
        assert self._channel is not None
        while True:
            found = self._read(await asyncio.get_running_loop().sock_recv(self._channel, probe.MESSAGE_MAX_BYTES))
            if found is not None:
                return found

    def _read(self, message: bytes) -> Found | None:
        """What was found, when the message is the answer; it may be only what is being done."""
        if not message:
            raise ConnectionResetError("it ended by itself")
        number, _, what = message.decode().partition(" ")
        if number != self._asked or not what.startswith("{"):
            self._doing = what
            return None
        self._asked = ""
        found: Found = json.loads(what)
        return found

    def _late(self, waited_s: float, patience_s: float) -> Found:
        """What came at the last moment, or while this process stood still. Without it: a stall is only what the probe
        was seen to wait for; it had begun, for long enough, and neither runs nor is stopped."""
        with contextlib.suppress(OSError):
            while self._channel is not None:
                found = self._read(self._channel.recv(probe.MESSAGE_MAX_BYTES))
                if found is not None:
                    return found
        stat = process_stat(self._program.pid) if self._program else None
        state = stat.state if stat else "X"
        if not self._doing or state not in "SD" or waited_s < patience_s / 2:
            raise BlindError(f"no answer from the probe in {waited_s:.1f} s, but it does not hang (state {state})")
        what = "a write and sync" if self._doing == "write" else "the question for its free space"
        raise StalledError(f"{what} hangs, for {waited_s:.1f} s now")

    async def end(self) -> None:
        """Kill the process and wait for it, for a bounded time."""
        program, self._program = self._program, None
        channel, self._channel = self._channel, None
        self._asked = ""
        if channel is not None:
            channel.close()
        if program is None:
            return
        _hung.append(program)
        program.send_signal(signal.SIGKILL)
        pidfd = open_pidfd(program.pid)
        if pidfd is not None:
            try:
                await wait_ended(pidfd, END_S)
            finally:
                os.close(pidfd)
        _reap()


def _reap() -> None:
    _hung[:] = [program for program in _hung if program.poll() is None]


@contextlib.contextmanager
def _kept_on_success(channel: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        channel.close()
        raise
