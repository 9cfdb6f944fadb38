"""What a program that was started prints, in a file of ours: bounded, and its end for messages."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 16 << 20
_END_BYTES: Final = 4096
_END_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class ProgramLog:
    path: Path

    def bound(self) -> None:
        """Begin anew when it is long; the earlier one is kept. It is emptied in place: the program has it open."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > MAX_BYTES:
                shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
                os.truncate(self.path, 0)

    def last_words(self) -> str:
        """Its last lines as one; empty when there are none, or no file."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _END_BYTES))
            return " | ".join(file.read().decode(errors="replace").splitlines()[-_END_LINES:])
        return ""
