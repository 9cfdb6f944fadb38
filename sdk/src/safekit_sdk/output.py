"""Where a program writes: to the end of a file, or through a pipe of which the end is kept in memory."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 65536
_PIECES_AT_END: Final = 32
"""Read at most after the program's end: a pipe holds less, unless what it left behind goes on writing."""


class FileOutput:
    """It outlives this process, and so may what writes to it."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.stdout = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.stderr = subprocess.STDOUT
        self._start = os.fstat(self.stdout).st_size

    def started(self) -> None:
        """Nothing: the program has a descriptor of its own, this one is read at the end."""

    def close(self) -> None:
        os.close(self.stdout)

    def texts(self) -> tuple[str, str]:
        """What was written since, at most the limit, and nothing apart from it."""
        size = os.fstat(self.stdout).st_size
        start = self._start if size >= self._start else 0
        begin = max(start, size - self._limit_bytes)
        return os.pread(self.stdout, size - begin, begin).decode(errors="replace"), ""


class PipedOutput:
    """Both together, or standard error apart. Made and used on the event loop."""

    def __init__(self, limit_bytes: int, *, apart: bool) -> None:
        self._out = _Tail(limit_bytes)
        self._err = _Tail(limit_bytes) if apart else None
        self.stdout = self._out.writer
        self.stderr = self._err.writer if self._err else subprocess.STDOUT

    def started(self) -> None:
        """The program has its own ends by now."""
        for tail in self._tails():
            tail.release()

    def close(self) -> None:
        for tail in self._tails():
            tail.release()
            tail.close()

    def texts(self) -> tuple[str, str]:
        """The ends of both, with what is in the pipes by now."""
        return self._out.text(), self._err.text() if self._err else ""

    def _tails(self) -> list[_Tail]:
        return [self._out, self._err] if self._err else [self._out]


class _Tail:
    """Read as it comes, never more in memory than the limit and one piece."""

    def __init__(self, limit_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self._ended = False
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._take)

    def release(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def _take(self) -> bool:
        """Whether there was something."""
        try:
            piece = os.read(self._reader, _PIECE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            self._end()
            return False
        self._kept += piece
        del self._kept[: max(len(self._kept) - self._limit_bytes, 0)]
        return True

    def text(self) -> str:
        for _ in range(_PIECES_AT_END):
            if self._ended or not self._take():
                break
        return self._kept.decode(errors="replace")

    def close(self) -> None:
        """What the program has left running and still writes goes nowhere, as long as this process lives, and is not
        ended by it."""
        self._limit_bytes = 0
        if not self._ended:
            self._take()

    def _end(self) -> None:
        self._ended = True
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
