"""The system calls that Python does not have. All raise OSError."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_OPENAT2: Final = 437
"""The number is the same on every architecture."""
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_NO_SYMLINKS: Final = 0x04
_AT_EMPTY_PATH: Final = 0x1000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_BTIME: Final = 0x800
_STATX: Final = struct.Struct("=I76xqI168x")
"""What is known, and the time of birth; of 256 bytes."""
_UTIME_OMIT: Final = (1 << 30) - 2
_HANDLE_BYTES: Final = 128
_HANDLE: Final = struct.Struct("=Ii")
_DIRENT: Final = struct.Struct("=QQHB")
_PATH_BYTES: Final = 4096
"""PATH_MAX, with the zero at its end."""
_NS: Final = 1_000_000_000

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
MS_RDONLY: Final = 1
MNT_DETACH: Final = 2

for _name, _arguments in {
    "mount": (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p),
    "umount2": (ctypes.c_char_p, ctypes.c_int),
    "renameat2": (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint),
    "fallocate": (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
    "syncfs": (ctypes.c_int,),
    "utimensat": (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int),
    "name_to_handle_at": (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int),
    "open_by_handle_at": (ctypes.c_int, ctypes.c_char_p, ctypes.c_int),
    "statx": (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p),
    "getdents64": (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t),
}.items():
    getattr(_LIBC, _name).argtypes = _arguments
_LIBC.getdents64.restype = ctypes.c_ssize_t
_LIBC.syscall.restype = ctypes.c_long


def _checked(result: int, *names: bytes) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *names[:1])
    return result


def mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes) -> None:
    _checked(_LIBC.mount(source, target, kind, flags, options), target)


def unmount(target: bytes, flags: int) -> None:
    _checked(_LIBC.umount2(target, flags), target)


def rename(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    _checked(_LIBC.renameat2(old_fd, old, new_fd, new, flags), old)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    _checked(_LIBC.fallocate(fd, mode, offset, length))


def sync_filesystem(fd: int) -> None:
    _checked(_LIBC.syncfs(fd))


def set_times(directory_fd: int, name: bytes, atime_ns: int | None, mtime_ns: int | None) -> None:
    """None: as it is. A symbolic link itself is meant. An empty name: the descriptor's file."""
    times = b"".join(
        struct.pack("=qq", *((0, _UTIME_OMIT) if time_ns is None else divmod(time_ns, _NS)))
        for time_ns in (atime_ns, mtime_ns)
    )
    if name:
        _checked(_LIBC.utimensat(directory_fd, name, times, _AT_SYMLINK_NOFOLLOW), name)
    else:
        _checked(_LIBC.utimensat(-1, b"/proc/self/fd/%d" % directory_fd, times, 0))


def birth_ns(directory_fd: int, name: bytes) -> int:
    """When the file was made; 0: the file system does not know. An empty name: the descriptor's file."""
    buffer = ctypes.create_string_buffer(_STATX.size)
    flags = _AT_STATX_DONT_SYNC | (_AT_SYMLINK_NOFOLLOW if name else _AT_EMPTY_PATH)
    _checked(_LIBC.statx(directory_fd, name, flags, _STATX_BTIME, buffer), name)
    known, seconds, nanoseconds = _STATX.unpack_from(buffer)
    return seconds * _NS + nanoseconds if known & _STATX_BTIME else 0


def open_beneath(root_fd: int, path: bytes, flags: int) -> int:
    """Open a path that leaves the root nowhere and goes through no symbolic link; also one that is longer than the
    kernel takes at once."""
    if len(path) >= _PATH_BYTES:
        at = path.rindex(b"/", 0, _PATH_BYTES)
        above, rest = path[:at], path[at + 1 :]
        fd = open_beneath(root_fd, above, os.O_PATH | os.O_DIRECTORY)
        try:
            return open_beneath(fd, rest, flags)
        finally:
            os.close(fd)
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    arguments = (ctypes.c_long(root_fd), ctypes.c_char_p(path or b"."), ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
    return _checked(_LIBC.syscall(ctypes.c_long(_OPENAT2), *arguments), path)


def handle_of(directory_fd: int, name: bytes = b"") -> bytes:
    """The file's identity, as long as its inode exists: type and bytes as of name_to_handle_at(2)."""
    buffer = ctypes.create_string_buffer(_HANDLE.pack(_HANDLE_BYTES, 0), _HANDLE.size + _HANDLE_BYTES)
    mount_id = ctypes.c_int()
    flags = 0 if name else _AT_EMPTY_PATH
    _checked(_LIBC.name_to_handle_at(directory_fd, name, buffer, ctypes.byref(mount_id), flags), name)
    (size, kind) = _HANDLE.unpack_from(buffer)
    return struct.pack("=i", kind) + buffer.raw[_HANDLE.size : _HANDLE.size + size]


def open_handle(mount_fd: int, handle: bytes, flags: int) -> int:
    """ESTALE: that file exists no more."""
    (kind,) = struct.unpack_from("=i", handle)
    content = handle[4:]
    return _checked(_LIBC.open_by_handle_at(mount_fd, _HANDLE.pack(len(content), kind) + content, flags | os.O_CLOEXEC))


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    inode: int
    offset: int
    """Where the next entry begins: a cookie of the file system."""
    kind: int
    """As of readdir(3)."""
    name: bytes


_dirents: Final = ctypes.create_string_buffer(1 << 15)


def read_directory(fd: int) -> list[DirectoryEntry]:
    """The next entries from the descriptor's offset on; none at the end. Not for several threads."""
    size = _checked(_LIBC.getdents64(fd, _dirents, len(_dirents)))
    return list(_parse_entries(_dirents.raw[:size]))


def _parse_entries(raw: bytes) -> Iterator[DirectoryEntry]:
    position = 0
    while position < len(raw):
        inode, offset, length, kind = _DIRENT.unpack_from(raw, position)
        start = position + _DIRENT.size
        yield DirectoryEntry(inode, offset, kind, raw[start : raw.index(b"\0", start)])
        position += length
