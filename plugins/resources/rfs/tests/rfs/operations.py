"""Random operations on a directory, each done on several directories, that must answer alike and end alike."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import random
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safekit_resource_rfs.syscalls import fallocate, rename

NAMES = ("a", "b", "c", "d e", "ü", "f" * 255, os.fsdecode(b"\xff\n\xfe"))
KEYS = ("user.one", "user.two", "trusted.three")
PUNCH, KEEP, ZERO = 2, 1, 16
PAGE_BYTES = 4096


class Machine:
    """The same seed does the same to every directory."""

    def __init__(self, seed: int, *roots: Path) -> None:
        self._random = random.Random(seed)
        self._roots = roots
        self._open: list[list[int]] = []
        """Descriptors of one file, one for each root."""
        self.log: list[str] = []
        self._kinds: tuple[Callable[[], tuple[str, Callable[[Path, int], Any]]], ...] = (
            *[self._make_file] * 3,
            *[self._make_directory] * 3,
            *[self._write] * 4,
            *[
                self._open_file,
                self._write_open,
                self._write_open,
                self._truncate_open,
                self._allocate_open,
                self._stat_open,
            ],
            *[self._close_file, self._read_open, self._change_open, self._append, self._map_open, self._copy_open],
            *[self._write_direct, self._lock_open, self._list_slowly, self._set_acl, self._socket],
            *[self._rename] * 3,
            *[self._exchange, self._link, self._link, self._symlink, self._fifo, self._truncate],
            *[self._remove] * 2,
            *[self._remove_directory, self._set_mode, self._set_owner, self._set_times],
            *[self._set_xattr, self._remove_xattr, self._list, self._stat, self._sync],
        )

    def step(self) -> None:
        what, action = self._random.choice(self._kinds)()
        results = [self._outcome(action, root, number) for number, root in enumerate(self._roots)]
        self.log.append(f"{what}: {results[0]!r}")
        assert all(result == results[0] for result in results), (what, results, self.log[-30:])

    @staticmethod
    def _outcome(action: Callable[[Path, int], Any], root: Path, number: int) -> Any:
        try:
            return action(root, number)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def close(self) -> None:
        for fds in self._open:
            for fd in fds:
                os.close(fd)
        self._open.clear()

    # What is chosen

    def _path(self) -> str:
        return "/".join(self._random.choice(NAMES) for _ in range(self._random.choice((1, 1, 2, 2, 3))))

    def _data(self) -> bytes:
        return self._random.randbytes(self._random.choice((1, 100, 5000))) * self._random.choice((1, 1, 10))

    def _offset(self) -> int:
        return self._random.choice((0, 1, 4096, 10_000, 300_000, 5_000_000))

    # Operations: what is said of it, and what does it

    def _make_file(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, mode, data = self._path(), self._random.choice((0o644, 0o600, 0o4755, 0o2755)), self._data()

        def act(root: Path, _: int) -> None:
            fd = os.open(root / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
            os.write(fd, data)
            os.close(fd)

        return f"make file {path} {oct(mode)} {len(data)}", act

    def _make_directory(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, mode = self._path(), self._random.choice((0o755, 0o700, 0o2775, 0o1777))
        return f"mkdir {path} {oct(mode)}", lambda root, _: (root / path).mkdir(mode)

    def _write(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, data, offset = self._path(), self._data(), self._offset()

        def act(root: Path, _: int) -> int:
            fd = os.open(root / path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                return os.pwrite(fd, data, offset)
            finally:
                os.close(fd)

        return f"write {path} {offset} {len(data)}", act

    def _open_file(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._path()
        if len(self._open) >= 8:
            return self._close_file()
        fds: list[int] = []

        def act(root: Path, number: int) -> None:
            fds.append(os.open(root / path, os.O_RDWR | os.O_NONBLOCK))
            if number == len(self._roots) - 1 and len(fds) == len(self._roots):
                self._open.append(fds)

        return f"open {path}", act

    def _on_open(self, what: str, act: Callable[[int], Any]) -> tuple[str, Callable[[Path, int], Any]]:
        if not self._open:
            return self._open_file()
        fds = self._random.choice(self._open)
        return f"{what} of open", lambda _, number: act(fds[number])

    def _write_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        data, offset = self._data(), self._offset()
        return self._on_open("write", lambda fd: os.pwrite(fd, data, offset))

    def _truncate_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        size = self._offset()
        return self._on_open("truncate", lambda fd: os.ftruncate(fd, size))

    def _allocate_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        mode = self._random.choice((0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP))
        offset, length = self._offset(), self._random.choice((1, 5000, 100_000))
        return self._on_open(f"fallocate {mode} {offset} {length}", lambda fd: fallocate(fd, mode, offset, length))

    def _stat_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        return self._on_open("stat", lambda fd: _plain(os.fstat(fd)))

    def _read_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        offset = self._offset()
        return self._on_open("read", lambda fd: hash(os.pread(fd, 20_000, offset)))

    def _change_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        mode = self._random.choice((0o600, 0o640))
        return self._on_open("chmod", lambda fd: os.fchmod(fd, mode))

    def _append(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, data = self._path(), self._data()

        def act(root: Path, _: int) -> tuple[int, int]:
            fd = os.open(root / path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                return os.write(fd, data), os.fstat(fd).st_size if stat.S_ISREG(os.fstat(fd).st_mode) else 0
            finally:
                os.close(fd)

        return f"append {path} {len(data)}", act

    def _map_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        """Not where another process may make the file shorter meanwhile, which ends this one."""
        if len(self._roots) == 1:
            return self._write_open()
        place, data, is_synced = self._random.random(), self._data(), self._random.random() < 0.5

        def act(fd: int) -> None:
            size = os.fstat(fd).st_size
            if not stat.S_ISREG(os.fstat(fd).st_mode) or not size:
                return
            with mmap.mmap(fd, size) as memory:
                offset = int(place * size)
                part = data[: size - offset]
                memory[offset : offset + len(part)] = part
                if is_synced:
                    memory.flush()

        return self._on_open("write by memory map", act)

    def _copy_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        start, to, length = self._offset(), self._offset(), self._random.choice((1, 5000, 100_000))
        return self._on_open("copy_file_range", lambda fd: os.copy_file_range(fd, fd, length, start, to))

    def _write_direct(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, byte, offset = self._path(), self._random.randbytes(1), self._offset() // PAGE_BYTES * PAGE_BYTES

        def act(root: Path, _: int) -> int:
            fd = os.open(root / path, os.O_RDWR | os.O_DIRECT | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                with mmap.mmap(-1, PAGE_BYTES) as aligned:
                    aligned.write(byte * PAGE_BYTES)
                    return os.pwritev(fd, [aligned], offset)
            finally:
                os.close(fd)

        return f"write directly {path} {offset}", act

    def _lock_open(self) -> tuple[str, Callable[[Path, int], Any]]:
        call = self._random.choice((fcntl.flock, fcntl.lockf))
        how = self._random.choice((fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_UN))
        return self._on_open(f"{call.__name__} {how}", lambda fd: call(fd, how))

    def _list_slowly(self) -> tuple[str, Callable[[Path, int], Any]]:
        """Part of a listing, changes, and the rest of it."""
        path, name = self._random.choice(("", self._path())), self._random.choice(NAMES)

        def act(root: Path, _: int) -> None:
            with os.scandir(root / path) as entries:
                next(entries, None)
                for _ in range(3):
                    (root / path / f"new-{os.getpid()}").touch()
                    (root / path / f"new-{os.getpid()}").rename(root / path / f"{name[:100]}-{os.getpid()}")
                    (root / path / f"{name[:100]}-{os.getpid()}").unlink()
                list(entries)

        return f"list slowly {path}", act

    def _set_acl(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, key = self._path(), self._random.choice(("access", "default"))
        bits = [self._random.randrange(8) for _ in range(5)]
        entries = zip((1, 2, 4, 16, 32), bits, (-1, 1000, -1, -1, -1), strict=True)
        acl = struct.pack("=I", 2) + b"".join(struct.pack("=HHi", tag, allowed, who) for tag, allowed, who in entries)

        def act(root: Path, _: int) -> None:
            os.setxattr(root / path, f"system.posix_acl_{key}", acl, follow_symlinks=False)

        return f"set {key} acl of {path} {bits}", act

    def _socket(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._path()
        return f"socket {path}", lambda root, _: os.mknod(root / path, stat.S_IFSOCK | 0o640)

    def _close_file(self) -> tuple[str, Callable[[Path, int], Any]]:
        fds = self._open.pop(self._random.randrange(len(self._open))) if self._open else None
        return "close", lambda _, number: os.close(fds[number]) if fds else None

    def _rename(self) -> tuple[str, Callable[[Path, int], Any]]:
        old, new = self._path(), self._path()
        return f"rename {old} {new}", lambda root, _: (root / old).rename(root / new) and None

    def _exchange(self) -> tuple[str, Callable[[Path, int], Any]]:
        old, new, flags = self._path(), self._path(), self._random.choice((1, 2, 2))
        return (
            f"rename {old} {new} {flags}",
            lambda root, _: rename(-1, os.fsencode(root / old), -1, os.fsencode(root / new), flags),
        )

    def _link(self) -> tuple[str, Callable[[Path, int], Any]]:
        old, new = self._path(), self._path()
        return f"link {old} {new}", lambda root, _: os.link(root / old, root / new, follow_symlinks=False)

    def _symlink(self) -> tuple[str, Callable[[Path, int], Any]]:
        target, path = self._path(), self._path()
        return f"symlink {target} {path}", lambda root, _: (root / path).symlink_to(target)

    def _fifo(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, device = self._path(), self._random.choice((0, os.makedev(1, 300)))
        kind = stat.S_IFCHR if device else stat.S_IFIFO
        return f"mknod {path}", lambda root, _: os.mknod(root / path, kind | 0o640, device)

    def _truncate(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, size = self._path(), self._offset()

        def act(root: Path, _: int) -> None:
            if stat.S_ISREG((root / path).stat().st_mode):
                os.truncate(root / path, size)

        return f"truncate {path} {size}", act

    def _remove(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._path()
        return f"unlink {path}", lambda root, _: (root / path).unlink()

    def _remove_directory(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._path()
        return f"rmdir {path}", lambda root, _: (root / path).rmdir()

    def _set_mode(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, mode = self._path(), self._random.choice((0o755, 0o644, 0o4711, 0o2755, 0o1777))
        return f"chmod {path} {oct(mode)}", lambda root, _: (root / path).chmod(mode)

    def _set_owner(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, uid, gid = self._path(), self._random.choice((-1, 0, 1000)), self._random.choice((-1, 0, 1000))
        return f"chown {path}", lambda root, _: os.chown(root / path, uid, gid, follow_symlinks=False)

    def _set_times(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, time_ns = self._path(), self._random.randrange(2**61)
        return f"utime {path}", lambda root, _: os.utime(root / path, ns=(5, time_ns), follow_symlinks=False)

    def _set_xattr(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, key, value = self._path(), self._random.choice(KEYS), self._random.randbytes(20)
        return f"setxattr {path} {key}", lambda root, _: os.setxattr(root / path, key, value, follow_symlinks=False)

    def _remove_xattr(self) -> tuple[str, Callable[[Path, int], Any]]:
        path, key = self._path(), self._random.choice(KEYS)
        return f"removexattr {path} {key}", lambda root, _: os.removexattr(root / path, key, follow_symlinks=False)

    def _list(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._random.choice(("", self._path()))
        return f"list {path}", lambda root, _: sorted(entry.name for entry in (root / path).iterdir())

    def _stat(self) -> tuple[str, Callable[[Path, int], Any]]:
        path = self._path()
        return f"stat {path}", lambda root, _: _plain(os.lstat(root / path))

    def _sync(self) -> tuple[str, Callable[[Path, int], Any]]:
        return self._on_open("fsync", os.fsync)


def _plain(status: os.stat_result) -> tuple[int, ...]:
    """What is the same everywhere."""
    size = status.st_size if not stat.S_ISDIR(status.st_mode) else 0
    return status.st_mode, status.st_nlink, status.st_uid, status.st_gid, size, status.st_rdev
