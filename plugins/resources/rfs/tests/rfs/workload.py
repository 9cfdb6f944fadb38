"""Everything that an application does to a directory, at random from a seed, with system calls on the mount."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAMES: Final = [os.fsdecode(name) for name in (b"a", b"b", b"c", b"d e", b"\xff\xfe", b"\xc3\xbc")]
EXPECTED: Final = frozenset(
    (
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOTEMPTY,
        errno.EINVAL,
        errno.ELOOP,
        errno.EPERM,
        errno.ENODATA,
        errno.EXDEV,
        errno.ENXIO,
        errno.EOPNOTSUPP,
        errno.EMLINK,
        errno.ESPIPE,
        errno.EAGAIN,
    )
)


class Workload:
    """`steps` modifies the directory; which modifications depends on the seed and on what is there."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.root = directory
        self._chance = random.Random(seed)
        self._actions = (
            *(self._write,) * 6,
            self._append,
            self._truncate,
            self._punch,
            self._make_directory,
            self._make_directory,
            self._remove,
            self._remove_directory,
            self._rename,
            self._rename,
            self._link,
            self._symlink,
            self._chmod,
            self._chown,
            self._times,
            self._xattr,
            self._fifo,
            self._sync,
            self._unlink_open,
        )

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def step(self) -> None:
        try:
            self._chance.choice(self._actions)()
        except OSError as error:
            if error.errno not in EXPECTED:
                raise

    def _path(self) -> Path:
        depth = self._chance.choice((1, 1, 2, 2, 3))
        return self.root.joinpath(*self._chance.choices(NAMES, k=depth))

    def _existing(self, kind: int = 0) -> Path:
        """Of this type; any path when there is none."""
        found: list[Path] = []
        for folder, names, files in os.walk(self.root):
            found += (Path(folder, name) for name in (*names, *files))
        fitting = [path for path in sorted(found) if not kind or stat.S_IFMT(path.lstat().st_mode) == kind]
        return self._chance.choice(fitting) if fitting else self._path()

    @contextlib.contextmanager
    def _open(self, flags: int) -> Iterator[int]:
        path = self._existing(stat.S_IFREG) if self._chance.random() < 0.6 else self._path()
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _data(self) -> bytes:
        return self._chance.randbytes(self._chance.choice((1, 10, 4096, 5000, 70_000)))

    def _write(self) -> None:
        with self._open(os.O_RDWR | os.O_CREAT) as descriptor:
            os.pwrite(descriptor, self._data(), self._chance.choice((0, 0, 1, 4096, 1 << 20, 5 << 20)))

    def _append(self) -> None:
        with self._open(os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
            os.write(descriptor, self._data())
            os.write(descriptor, self._data())

    def _truncate(self) -> None:
        with self._open(os.O_RDWR) as descriptor:
            os.ftruncate(descriptor, self._chance.choice((0, 1, 5000, 1 << 20)))

    def _punch(self) -> None:
        with self._open(os.O_RDWR) as descriptor:
            os.posix_fallocate(descriptor, 0, self._chance.choice((1, 5000, 100_000)))

    def _make_directory(self) -> None:
        self._path().mkdir()

    def _remove(self) -> None:
        self._existing().unlink()

    def _remove_directory(self) -> None:
        self._existing(stat.S_IFDIR).rmdir()

    def _rename(self) -> None:
        self._existing().rename(self._path())

    def _link(self) -> None:
        os.link(self._existing(stat.S_IFREG), self._path(), follow_symlinks=False)

    def _symlink(self) -> None:
        self._path().symlink_to(self._chance.choice(NAMES))

    def _chmod(self) -> None:
        path = self._existing(self._chance.choice((stat.S_IFREG, stat.S_IFDIR)))
        if not path.is_symlink():
            path.chmod(self._chance.choice((0o600, 0o755, 0o4755, 0o1777)))

    def _chown(self) -> None:
        os.chown(self._existing(), self._chance.choice((0, 1, 1000)), -1, follow_symlinks=False)

    def _times(self) -> None:
        when_ns = self._chance.randrange(1 << 60)
        os.utime(self._existing(), ns=(when_ns, when_ns), follow_symlinks=False)

    def _xattr(self) -> None:
        path = self._existing(stat.S_IFREG)
        name = "user." + self._chance.choice("xy")
        if self._chance.random() < 0.7:
            os.setxattr(path, name, self._chance.randbytes(20), follow_symlinks=False)
        else:
            os.removexattr(path, name, follow_symlinks=False)

    def _fifo(self) -> None:
        os.mkfifo(self._path())

    def _sync(self) -> None:
        with self._open(os.O_RDWR) as descriptor:
            os.fsync(descriptor)

    def _unlink_open(self) -> None:
        path = self._path()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            path.unlink()
            os.write(descriptor, b"without a name")
        finally:
            os.close(descriptor)
