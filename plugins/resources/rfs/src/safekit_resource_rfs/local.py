"""What is done to one name of a real directory, on both sides. A place is a directory's descriptor and a name in it;
with an empty name the descriptor's own file is meant. No symbolic link is followed."""

from __future__ import annotations

import errno
import os
import stat
from hashlib import blake2b
from pathlib import Path
from typing import Final

from safekit_resource_rfs import syscalls

RESERVED: Final = b".safekit-rfs"
"""In the root, for what is kept aside; applications do not see it."""
_SECURITY: Final = b"security."
CAPABILITY: Final = b"security.capability"
_KILLED: Final = stat.S_ISUID | stat.S_ISGID
_NO_XATTR: Final = (errno.ENODATA, errno.ENOTSUP)
"""It is gone since, or of a kind that has no value here."""
_COPY_BYTES: Final = 1 << 20
KEEP_SIZE: Final = 0x01
PUNCH: Final = 0x03
"""Modes of fallocate(2): reserve, and make a hole; the size is kept."""
ZEROING: Final = 0x02 | 0x10
"""The bits of its modes that change what is read: to make a hole, and to zero a range."""
UNTOUCHED: Final = frozenset(
    {
        *(errno.EBADF, errno.EFBIG, errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP),
        *(errno.EPERM, errno.EROFS, errno.ESPIPE, errno.ETXTBSY),
    }
)
"""What it refuses with before it has changed anything. With others, as on a full disk, a part may be done."""


def status(directory_fd: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=directory_fd, follow_symlinks=False) if name else os.fstat(directory_fd)


def _own_path(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def set_mode(directory_fd: int, name: bytes, mode: int) -> None:
    if not name:
        Path(os.fsdecode(_own_path(directory_fd))).chmod(mode)
    elif not stat.S_ISLNK(status(directory_fd, name).st_mode):
        os.chmod(name, mode, dir_fd=directory_fd)


def set_owner(directory_fd: int, name: bytes, uid: int, gid: int) -> None:
    """-1: as it is. Bits for set-user-ID and set-group-ID of a file are cleared."""
    if name:
        os.chown(name, uid, gid, dir_fd=directory_fd, follow_symlinks=False)
    else:
        os.chown(_own_path(directory_fd), uid, gid)


def without_set_id(mode: int) -> int:
    """The mode after a write by somebody who is not privileged."""
    return mode & ~(_KILLED if mode & stat.S_IXGRP else stat.S_ISUID)


def make_file(directory_fd: int, name: bytes, mode: int) -> int:
    """A new regular file, open for reading and writing."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME
    return os.open(name, flags, mode, dir_fd=directory_fd)


def inherited_group(directory_fd: int, found: os.stat_result, gid: int) -> int:
    """The group of a new file that somebody of this group made: the directory's when that says so."""
    if found.st_gid in (gid, os.getegid()):
        is_inherited = found.st_gid != gid and status(directory_fd, b"").st_mode & stat.S_ISGID
        return found.st_gid if is_inherited else gid
    return found.st_gid


def own(directory_fd: int, name: bytes, mode: int, uid: int, gid: int, *, may_inherit: bool = False) -> os.stat_result:
    """Give a new file its owner, and then the bits that this clears."""
    found = status(directory_fd, name)
    if may_inherit:
        gid = inherited_group(directory_fd, found, gid)
    special = mode & (_KILLED | stat.S_ISVTX)
    if (found.st_uid, found.st_gid) != (uid, gid):
        set_owner(directory_fd, name, uid, gid)
    elif not special or found.st_mode & special == special:
        return found
    if special and not stat.S_ISLNK(found.st_mode):
        set_mode(directory_fd, name, stat.S_IMODE(found.st_mode) | special)
    return status(directory_fd, name)


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """All of it, or the size is as it was: a full disk can leave a part."""
    size = os.fstat(fd).st_size
    try:
        syscalls.fallocate(fd, mode, offset, length)
    except OSError:
        if os.fstat(fd).st_size > size:
            os.ftruncate(fd, size)
        raise


# Extended attributes


def _xattr_path(directory_fd: int, name: bytes) -> tuple[bytes, bool]:
    return (_own_path(directory_fd) + b"/" + name, False) if name else (_own_path(directory_fd), True)


def get_xattr(directory_fd: int, name: bytes, key: bytes) -> bytes:
    path, follow = _xattr_path(directory_fd, name)
    return os.getxattr(path, key, follow_symlinks=follow)


def set_xattr(directory_fd: int, name: bytes, key: bytes, value: bytes, flags: int = 0) -> None:
    path, follow = _xattr_path(directory_fd, name)
    os.setxattr(path, key, value, flags, follow_symlinks=follow)


def remove_xattr(directory_fd: int, name: bytes, key: bytes) -> None:
    path, follow = _xattr_path(directory_fd, name)
    os.removexattr(path, key, follow_symlinks=follow)


def list_xattrs(directory_fd: int, name: bytes) -> list[bytes]:
    path, follow = _xattr_path(directory_fd, name)
    try:
        return sorted(os.fsencode(key) for key in os.listxattr(path, follow_symlinks=follow))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def is_replicated(key: bytes) -> bool:
    """Labels of the security modules belong to the machine."""
    return not key.startswith(_SECURITY) or key == CAPABILITY


def replicated_xattrs(directory_fd: int, name: bytes) -> dict[bytes, bytes]:
    found = {}
    for key in filter(is_replicated, list_xattrs(directory_fd, name)):
        try:
            found[key] = get_xattr(directory_fd, name, key)
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise
    return found


def digest_xattrs(directory_fd: int, name: bytes) -> bytes:
    """16 bytes over all that are replicated; none: empty."""
    found = replicated_xattrs(directory_fd, name)
    if not found:
        return b""
    digest = blake2b(digest_size=16)
    for key, value in sorted(found.items()):
        digest.update(b"%d:%s%d:%s" % (len(key), key, len(value), value))
    return digest.digest()


# Copies


def copy_data(source_fd: int, target_fd: int) -> None:
    """All data, holes kept; shared blocks where the file system can."""
    size = os.fstat(source_fd).st_size
    os.ftruncate(target_fd, size)
    position = 0
    while position < size:
        try:
            start = os.lseek(source_fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(source_fd, start, os.SEEK_HOLE)
        _copy_range(source_fd, target_fd, start, position)


def _copy_range(source_fd: int, target_fd: int, start: int, end: int) -> None:
    while start < end:
        count = os.copy_file_range(source_fd, target_fd, min(end - start, _COPY_BYTES), start, start)
        if not count:
            return
        start += count


def copy_attributes(source: tuple[int, bytes], target: tuple[int, bytes]) -> None:
    """Owner, mode, extended attributes and times."""
    found = status(*source)
    set_owner(*target, found.st_uid, found.st_gid)
    set_mode(*target, stat.S_IMODE(found.st_mode))
    for key, value in replicated_xattrs(*source).items():
        set_xattr(*target, key, value)
    syscalls.set_times(*target, found.st_atime_ns, found.st_mtime_ns)
