"""A file system whose power can be cut: what its disk has at that moment is mounted as another."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE_BYTES = 24 << 20
BLOCK_BYTES = 1024


def run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr.strip()}"


class Disk:
    """ext4 on a file, mounted at `path`."""

    def __init__(self, place: Path) -> None:
        self.image = place / "disk.img"
        self.path = place / "disk"
        self._mounted: list[Path] = []
        with self.image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        run("mkfs.ext4", "-q", "-F", "-b", str(BLOCK_BYTES), self.image)

    def mount(self, image: Path, path: Path) -> None:
        path.mkdir()
        run("mount", "-o", "loop", image, path)
        self._mounted.append(path)

    def cut(self) -> Path:
        """As it is after the power was lost now and the journal was replayed."""
        image = self.image.with_name(f"cut{len(self._mounted)}.img")
        shutil.copyfile(self.image, image)
        path = image.with_suffix("")
        self.mount(image, path)
        return path

    def corrupt_xattrs(self, name: str) -> None:
        """The block that holds the file's extended attributes is damaged."""
        run("umount", self.path)
        told = subprocess.run(
            ["debugfs", "-R", f"stat {name}", self.image], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        block = int(told.partition("File ACL: ")[2].split()[0])
        with self.image.open("r+b") as file:
            file.seek(block * BLOCK_BYTES)
            file.write(bytes(BLOCK_BYTES))
        run("mount", "-o", "loop", self.image, self.path)

    def remove(self) -> None:
        for path in reversed(self._mounted):
            run("umount", "--lazy", path)


@contextlib.contextmanager
def a_disk(place: Path) -> Iterator[Disk]:
    disk = Disk(place)
    try:
        disk.mount(disk.image, disk.path)
        os.sync()
        yield disk
    finally:
        disk.remove()
