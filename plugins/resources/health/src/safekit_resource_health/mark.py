"""One line in a file: should this node get traffic, and until when is that known. Written in place, so that a process
without rights on the directory can go on reading it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

OFF: Final = "off"
_SIZE: Final = 64


class Mark:
    """Times are of the machine's monotonic clock, which all its processes share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> int:
        """A descriptor to read from; the file is made when it is not there."""
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def set(self, text: str) -> None:
        descriptor = self.open()
        try:
            os.pwrite(descriptor, text.ljust(_SIZE - 1).encode() + b"\n", 0)
        finally:
            os.close(descriptor)

    def on(self, seconds: float) -> None:
        self.set(f"on {time.monotonic() + seconds:.6f}")

    def off(self) -> None:
        """Nothing when the file is gone, as after a boot."""
        if self.path.exists():
            self.set(OFF)

    def is_on(self) -> bool:
        """Whether it was turned on and not off again, be it known until now or not."""
        with contextlib.suppress(OSError):
            return self.path.read_text(encoding="ascii").startswith("on")
        return False


def serves(descriptor: int) -> bool:
    """Whether the mark says so, and is still to be believed."""
    words = os.pread(descriptor, _SIZE, 0).decode(errors="replace").split()
    with contextlib.suppress(ValueError):
        return len(words) == 2 and words[0] == "on" and time.monotonic() < float(words[1])
    return False
