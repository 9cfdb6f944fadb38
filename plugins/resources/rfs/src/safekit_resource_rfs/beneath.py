"""Paths of changes, resolved beneath a real directory without following a symbolic link anywhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from safekit_resource_rfs import local, syscalls
from safekit_resource_rfs.changes import MAX_NAME_BYTES, MAX_PATH_BYTES

_GONE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ELOOP, errno.EINVAL))
_MAX_DIRECTORIES: Final = 256
"""Descriptors kept open."""


def components(path: bytes) -> list[bytes]:
    """OSError EINVAL or ENAMETOOLONG for what is no path of a change; the root has no components."""
    if not path:
        return []
    names = path.split(b"/")
    if len(path) > MAX_PATH_BYTES or any(len(name) > MAX_NAME_BYTES for name in names):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    if b"\0" in path or any(name in (b"", b".", b"..") for name in names) or names[0] == local.RESERVED:
        raise OSError(errno.EINVAL, "not a path of a change", path)
    return names


class Beneath:
    """Not for several threads."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self._directories: dict[bytes, int] = {}
        """By path, the least recently used first."""

    def place(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the directory, and the name in it; of the root its own and no name."""
        if not components(path):
            return self.root_fd, b""
        directory, _, name = path.rpartition(b"/")
        return self.directory(directory), name

    def name(self, path: bytes) -> tuple[int, bytes]:
        """As `place`, and never the root."""
        if not path:
            raise OSError(errno.EINVAL, "the directory itself is meant", path)
        return self.place(path)

    def directory(self, path: bytes) -> int:
        if not path:
            return self.root_fd
        fd = self._directories.pop(path, None)
        if fd is None:
            fd = syscalls.open_beneath(self.root_fd, path, os.O_PATH | os.O_DIRECTORY)
            if len(self._directories) >= _MAX_DIRECTORIES:
                os.close(self._directories.pop(next(iter(self._directories))))
        self._directories[path] = fd
        return fd

    def forget(self, path: bytes) -> None:
        """The directory, if it is one, has another path now, or none; so have those below it."""
        below = path + b"/"
        for known in [known for known in self._directories if known == path or known.startswith(below)]:
            os.close(self._directories.pop(known))

    def close(self) -> None:
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()


def open_regular(root_fd: int, path: bytes, flags: int) -> int:
    """OSError EINVAL when it is no regular file; nothing else is opened, as opening a device may do something. From any
    thread."""
    components(path)
    place = syscalls.open_beneath(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{place}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)


def handle_of(root_fd: int, path: bytes) -> bytes:
    """From any thread."""
    components(path)
    fd = syscalls.open_beneath(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return syscalls.handle_of(fd)
    finally:
        os.close(fd)


def path_of(root_fd: int, handle: bytes) -> bytes | None:
    """Where the directory with this handle is now; None: nowhere beneath the root. OSError when that cannot be told.
    From any thread."""
    try:
        fd = syscalls.open_handle(root_fd, handle, os.O_PATH)
        try:
            found = os.fsencode(Path(f"/proc/self/fd/{fd}").readlink())
        finally:
            os.close(fd)
        root = os.fsencode(Path(f"/proc/self/fd/{root_fd}").readlink())
        path = found[len(root) :].lstrip(b"/")
        is_there = found.startswith(root) and handle_of(root_fd, path) == handle
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return None
    return path if is_there else None
