"""A thread that sees when the host's loop does not turn, and writes down which plugin keeps it, for who ends it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from safekit.plugins import discover

LOOK_S: Final = 0.25
STALLED_S: Final = 0.75
"""More than one turn of the loop's own sign of life."""
DEEPEST: Final = 200


class Stalls:
    """Made in the thread that it watches. `turned` is called from there, again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = threading.get_ident()
        self._turned_s = time.monotonic()
        self._is_written = False
        threading.Thread(target=self._watch, name="stalls", daemon=True).start()

    def turned(self) -> None:
        self._turned_s = time.monotonic()
        if self._is_written:
            self._is_written = False
            self._path.unlink(missing_ok=True)

    def _watch(self) -> None:
        packages = _packages()  # before anything stalls: beside a loop that never waits, each file read takes a turn
        while True:
            time.sleep(LOOK_S)
            if time.monotonic() - self._turned_s < STALLED_S or self._is_written:
                continue
            frame = sys._current_frames().get(self._watched)
            if frame is not None and (place := place_of(frame, packages)):
                self._write(place)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(text, encoding="utf-8")
            self._is_written = True


def _packages() -> dict[str, str]:
    """The package of each plugin's module."""
    return {_first(info.value.partition(":")[0]): f"package {info.package} {info.version}" for info in discover()}


def place_of(frame: FrameType, packages: Mapping[str, str]) -> str:
    """The plugin whose code runs, or has called what runs, with its package and line; empty when it is none's."""
    for one in _callers(frame):
        if package := packages.get(_first(str(one.f_globals.get("__name__", "")))):
            return f"{package}, {one.f_code.co_filename}:{one.f_lineno}"
    return ""


def _first(module: str) -> str:
    return module.partition(".")[0]


def _callers(frame: FrameType) -> Iterator[FrameType]:
    """The frame, who called it, and so on."""
    current: FrameType | None = frame
    for _ in range(DEEPEST):
        if current is None:
            return
        yield current
        current = current.f_back
