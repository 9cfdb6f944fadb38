"""Mounts for tests: a process serves a real directory and mirrors it into a second one; both are compared."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVING = Path(__file__).with_name("serving.py")
MNT_DETACH = 2


class Served:
    def __init__(self, place: Path, kind: str, cache: str, exclude: str = "") -> None:
        self.directory = place / "mounted"
        """Where applications work."""
        self.second = place / "second"
        """The replica."""
        for directory in (self.directory, self.second):
            with contextlib.suppress(FileExistsError):
                directory.mkdir()
        second = str(self.second) if kind != "local" else ""
        command = [sys.executable, str(SERVING), str(self.directory), second, kind, cache, exclude]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.real = Path(f"/proc/{self.process.pid}/fd/{self._answer()}")
        """The real directory, below the mount."""

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the serving process ended"
        value, number = json.loads(line)
        if number:
            raise OSError(number, os.strerror(number))
        return value

    def tell(self, word: str, value: Any = None) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([word, value]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def differences(self, *, holes: bool = True) -> list[str]:
        """Between the real directory and the replica, after what is still due; and what the replica refused."""
        errors: list[str] = self.tell("flush")
        return errors + compare(self.real, self.second, holes=holes)

    def end(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        detach(self.directory)


@contextlib.contextmanager
def served(
    place: Path, *, kind: str = "mirror", cache: str = "through", covered: bool = False, exclude: str = ""
) -> Iterator[Served]:
    mounted = Served(place, kind, cache, exclude)
    try:
        if not covered:
            mounted.tell("serve")
        yield mounted
    finally:
        mounted.end()


def detach(directory: Path) -> None:
    """Whatever is still mounted there."""
    while str(directory) in {line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def compare(one: Path, two: Path, *, holes: bool = True) -> list[str]:
    here, there = describe(one, holes=holes), describe(two, holes=holes)
    return [
        f"{os.fsdecode(path)!r}: {here.get(path)} and {there.get(path)}"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]


def describe(root: Path, *, holes: bool = True) -> dict[bytes, tuple[Any, ...]]:
    """Everything by path: attributes, content, holes, extended attributes, links."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[Any, ...]] = {b"": about(top + b"/", {}, b"", holes=holes)}
    groups: dict[int, bytes] = {}
    for folder, directories, files in os.walk(top):
        if folder == top and b".safekit-rfs" in directories:
            directories.remove(b".safekit-rfs")
        directories.sort()
        for name in sorted(directories + files):
            path = folder + b"/" + name
            found[path[len(top) + 1 :]] = about(path, groups, path[len(top) + 1 :], holes=holes)
    return found


def about(path: bytes, groups: dict[int, bytes], relative: bytes, *, holes: bool) -> tuple[Any, ...]:
    status = os.lstat(path)
    is_linked = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    group = groups.setdefault(status.st_ino, relative) if is_linked else b""
    content: Any = None
    if stat.S_ISREG(status.st_mode):
        content = (status.st_size, *content_of(path)[: 2 if holes else 1])
    elif stat.S_ISLNK(status.st_mode):
        content = Path(os.fsdecode(path)).readlink()
    keys = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = [(key, os.getxattr(path, key, follow_symlinks=False)) for key in keys]
    links = status.st_nlink if is_linked else 0
    owner = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev)
    return (*owner, links, group, content, tuple(xattrs))


def content_of(path: bytes) -> tuple[str, tuple[int, ...]]:
    """Digest, and where holes and data begin."""
    with Path(os.fsdecode(path)).open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
        size, position = os.fstat(file.fileno()).st_size, 0
        borders: list[int] = []
        while position < size:
            try:
                start = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                assert error.errno == errno.ENXIO
                break
            position = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            borders += [start, position]
    return digest, tuple(borders)
