"""A program that runs on and prints lines. It is read only as fast as it is listened to: its pipe holds it back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk.cgroup import cgroup_members
from safekit_sdk.process import Family, end_processes, launch, open_pidfd, wait_ended
from safekit_sdk.procfs import session_members

LINE_BYTES = 1024
"""What is kept of a line."""
_CHUNK_BYTES = 4096
_KILLS = 3
_SETTLE_S = 0.5
"""A program that ends closes its output a little before it can be seen to have ended."""
_VANISH_BOUND_S = 1.0


class Talker:
    """Made and used on the event loop. `kill` ends it, with all its children, and gives everything back."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, user: str | None, family: Family
    ) -> None:
        """ConfigError when it cannot be executed."""
        self._family = family
        self._home = family.home()
        self._lines = _Lines()
        self._closed = False
        self._pipe, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Through /proc the program gets an end of its own, which blocks it when nobody reads.
            output = Path(f"/proc/self/fd/{writing}")
            self._program = launch(argv, output=output, env=env, cwd=cwd, cgroup=self._home, user=user)
            self._pidfd = os.pidfd_open(self._program.pid)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(writing)

    async def line(self, deadline_s: float) -> str | None:
        """The next line; None when the program has ended. TimeoutError at the deadline, on the loop's clock."""
        while (line := self._lines.pop()) is None:
            if self._closed:
                await wait_ended(self._pidfd, _SETTLE_S)
                return None
            await self._news(deadline_s)
            self._read()
        return line

    async def _news(self, deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        news: asyncio.Future[None] = loop.create_future()
        descriptors = (self._pipe, self._pidfd)
        for descriptor in descriptors:
            loop.add_reader(descriptor, lambda: None if news.done() else news.set_result(None))
        try:
            async with asyncio.timeout_at(deadline_s):
                await news
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)

    def _read(self) -> None:
        """What it has printed. A child that holds the pipe open does not hide that the program itself ended."""
        ended = self._program.poll() is not None
        try:
            chunk = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            self._closed = ended
        else:
            self._closed = not chunk
            self._lines.feed(chunk)
        if self._closed:
            self._lines.feed(b"\n")

    @property
    def end(self) -> str:
        """How it ended, in words."""
        status = self._program.poll()
        if status is None:
            return "closed its output"
        return f"was killed by {signal_name(-status)}" if status < 0 else f"exited with status {status}"

    def _members(self) -> frozenset[int]:
        """The marker costs a look at every process, and is needed only where nothing else holds them together."""
        family = cgroup_members(self._home) if self._home else self._family.pids()
        return session_members(self._program.pid) | family

    async def end_all(self) -> None:
        """Kill it and its children, whatever they fork meanwhile."""
        await end_processes(self._members, 0.0, cgroup=self._home)

    def kill(self) -> None:
        """At once and without awaiting, as when the check is cancelled. Nothing the second time."""
        if self._pidfd < 0:
            return
        for _ in range(_KILLS):
            if not (left := self._members()):
                break
            kill_all(left)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._program.wait(_VANISH_BOUND_S)
        os.close(self._pidfd)
        os.close(self._pipe)
        self._pidfd = -1


def kill_all(pids: frozenset[int]) -> None:
    for pid in pids:
        if (pidfd := open_pidfd(pid)) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(slots=True)
class _Lines:
    """Bytes in, lines out; of a long line only the beginning is kept."""

    _buffer: bytes = b""
    _skipping: bool = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk

    def pop(self) -> str | None:
        """None while the next line is not complete. Empty lines are passed by."""
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if not end and len(line) < LINE_BYTES:
                return None
            skipped, self._skipping = self._skipping, not end
            self._buffer = rest
            text = line[:LINE_BYTES].decode(errors="replace").strip()
            if text and not skipped:
                return text
