"""Real file systems, small and gone after the test: in memory, and ext4 on a file, which can be made to hang."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GONE_S = 10.0


def run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], check=False, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stderr.strip()}")


@dataclass(frozen=True)
class FileSystem:
    path: Path

    def remount(self, options: str) -> None:
        run("mount", "-o", f"remount,{options}", self.path)

    def freeze(self) -> None:
        """Whoever writes hangs in the kernel from now on."""
        run("fsfreeze", "--freeze", self.path)

    def thaw(self) -> None:
        run("fsfreeze", "--unfreeze", self.path)


@contextlib.contextmanager
def in_memory(path: Path, options: str = "size=1m,nr_inodes=100") -> Iterator[FileSystem]:
    with _mounted(path, "-t", "tmpfs", "-o", options, "sk-test"):
        yield FileSystem(path)


@contextlib.contextmanager
def on_file(path: Path) -> Iterator[FileSystem]:
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "-F", image)
    with _mounted(path, "-o", "loop", image):
        made = FileSystem(path)
        try:
            yield made
        finally:
            with contextlib.suppress(RuntimeError):  # it is not frozen
                made.thaw()


@contextlib.contextmanager
def _mounted(path: Path, *what: str | Path) -> Iterator[None]:
    path.mkdir()
    run("mount", *what, path)
    try:
        yield
    finally:
        _unmount(path)


def _unmount(path: Path) -> None:
    """A probe that hung until now may need an instant to end."""
    deadline_s = time.monotonic() + GONE_S
    while True:
        try:
            run("umount", path)
        except RuntimeError:
            if time.monotonic() > deadline_s:
                run("umount", "--lazy", path)
                raise
            time.sleep(0.01)
        else:
            return
