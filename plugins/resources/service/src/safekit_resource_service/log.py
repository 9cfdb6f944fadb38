"""The user log: what scripts and programs write, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

_LOOK_S = 1.0


class UserLog:
    """A file that programs append to, also long after they were started. It is emptied in place, because they
    keep it open; a line written in the instant between the copy and the emptying is lost."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self._limit_bytes = limit_bytes

    def rotate(self) -> None:
        """Move the content to the earlier log when it is longer than the limit."""
        with contextlib.suppress(FileNotFoundError):
            size = self.path.stat().st_size
            if size > self._limit_bytes:
                self._keep(size)
                os.truncate(self.path, 0)

    def _keep(self, size: int) -> None:
        with self.path.open("rb") as source:
            source.seek(size - self._limit_bytes)
            content = source.read(self._limit_bytes)
        earlier = self.path.with_name(self.path.name + ".1")
        earlier.touch(mode=0o600)
        earlier.write_bytes(content)

    def write(self, line: str) -> None:
        self.rotate()
        self.path.touch(mode=0o600)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} safekit: {line}\n")

    def tail(self, lines: int = 5) -> str:
        """The last lines, for a message."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 4096))
            return " | ".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    @contextlib.asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Keep it within its limit while a program runs."""

        async def look() -> None:
            while True:
                await asyncio.sleep(_LOOK_S)
                self.rotate()

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            task.cancel()
            self.rotate()
