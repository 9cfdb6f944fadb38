"""Numbers and structures of the kernel's FUSE protocol (linux/fuse.h, 7.36), and how attributes are packed."""

from __future__ import annotations

import os
import stat
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

MAJOR: Final = 7
MINOR: Final = 36
"""Linux 5.17 and later speak it."""
PRUNE_MINOR: Final = 45
"""The kernel takes Notice.PRUNE (Linux 6.18)."""
ROOT_ID: Final = 1
MAX_WRITE_BYTES: Final = 1 << 20
MAX_PAGES: Final = 256
BUFFER_BYTES: Final = MAX_WRITE_BYTES + 8192


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46


class Capability(IntFlag):
    """INIT flags; the upper 32 bits travel in flags2."""

    ASYNC_READ = 1 << 0
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    WRITEBACK_CACHE = 1 << 16
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    POSIX_ACL = 1 << 20
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    HANDLE_KILLPRIV_V2 = 1 << 28
    SETXATTR_EXT = 1 << 29
    INIT_EXT = 1 << 30


REQUIRED: Final = (
    Capability.BIG_WRITES
    | Capability.DONT_MASK
    | Capability.NO_OPEN_SUPPORT
    | Capability.POSIX_ACL
    | Capability.MAX_PAGES
    | Capability.NO_OPENDIR_SUPPORT
    | Capability.HANDLE_KILLPRIV_V2
    | Capability.SETXATTR_EXT
)
"""What the file system relies on: every kernel since 5.12 has it."""
WANTED: Final = (
    REQUIRED
    | Capability.ASYNC_READ
    | Capability.DO_READDIRPLUS
    | Capability.READDIRPLUS_AUTO
    | Capability.ASYNC_DIO
    | Capability.PARALLEL_DIROPS
    | Capability.CACHE_SYMLINKS
    | Capability.INIT_EXT
)


class SetAttr(IntFlag):
    """Which fields of SETATTR are valid."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


WRITE_KILL_SUIDGID: Final = 1 << 2
XATTR_KILL_SGID: Final = 1 << 0
FSYNC_DATA_ONLY: Final = 1 << 0


class Notice(IntEnum):
    """What is told to the kernel unasked."""

    INVALIDATE_INODE = 2
    INVALIDATE_ENTRY = 3
    PRUNE = 9


IN_HEADER: Final = Struct("=IIQQIIII")
"""len, opcode, unique, nodeid, uid, gid, pid, extensions."""
OUT_HEADER: Final = Struct("=IiQ")
INIT_IN: Final = Struct("=IIII")
INIT_OUT: Final = Struct("=IIIIHHIIHHI28x")
FORGET_IN: Final = Struct("=Q")
FORGET_ONE: Final = Struct("=QQ")
BATCH_FORGET_IN: Final = Struct("=II")
MKNOD_IN: Final = Struct("=IIII")
MKDIR_IN: Final = Struct("=II")
RENAME_IN: Final = Struct("=Q")
RENAME2_IN: Final = Struct("=QII")
LINK_IN: Final = Struct("=Q")
SETATTR_IN: Final = Struct("=I4xQQQqqqIIIIIIII")
"""valid, fh, size, lock_owner, atime, mtime, ctime, their nanoseconds, mode, -, uid, gid, -."""
READ_IN: Final = Struct("=QQII")
WRITE_IN: Final = Struct("=QQIIQII")
WRITE_OUT: Final = Struct("=II")
FSYNC_IN: Final = Struct("=QII")
SETXATTR_IN: Final = Struct("=IIII")
GETXATTR_IN: Final = Struct("=II")
GETXATTR_OUT: Final = Struct("=II")
FALLOCATE_IN: Final = Struct("=QQQII")
LSEEK_IN: Final = Struct("=QQII")
LSEEK_OUT: Final = Struct("=Q")
INTERRUPT_IN: Final = Struct("=Q")
STATFS_OUT: Final = Struct("=QQQQQIIII24x")
ENTRY_OUT: Final = Struct("=QQQQIIQQQqqqIIIIIIIIII")
ATTR_OUT: Final = Struct("=QIIQQQqqqIIIIIIIIII")
DIRENT: Final = Struct("=QQII")
INVALIDATE_INODE_OUT: Final = Struct("=Qqq")
INVALIDATE_ENTRY_OUT: Final = Struct("=QII")
PRUNE_OUT: Final = Struct("=II8x")

_NS: Final = 1_000_000_000


def encode_device(device: int) -> int:
    """glibc's 64 bits as the kernel's 32."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def decode_device(encoded: int) -> int:
    return os.makedev((encoded >> 8) & 0xFFF, (encoded & 0xFF) | ((encoded >> 12) & 0xFFF00))


def _attributes(status: os.stat_result, least_blocks: int) -> tuple[int, ...]:
    atime_s, atime_ns = divmod(status.st_atime_ns, _NS)
    mtime_s, mtime_ns = divmod(status.st_mtime_ns, _NS)
    ctime_s, ctime_ns = divmod(status.st_ctime_ns, _NS)
    device = encode_device(status.st_rdev) if status.st_rdev else 0
    blocks = max(status.st_blocks, least_blocks if stat.S_ISREG(status.st_mode) else 0)
    return (
        *(status.st_ino, status.st_size, blocks, atime_s, mtime_s, ctime_s, atime_ns, mtime_ns, ctime_ns),
        *(status.st_mode, status.st_nlink, status.st_uid, status.st_gid, device, status.st_blksize, 0),
    )


def pack_attributes(status: os.stat_result, valid_s: int, least_blocks: int = 0) -> bytes:
    """`least_blocks`: a regular file has at least so many, whatever its status says."""
    return ATTR_OUT.pack(valid_s, 0, 0, *_attributes(status, least_blocks))


def pack_entry(
    node_id: int, status: os.stat_result, valid_s: int, attributes_valid_s: int | None = None, least_blocks: int = 0
) -> bytes:
    """The attributes are valid as long as the name, if nothing else is said."""
    also_s = valid_s if attributes_valid_s is None else attributes_valid_s
    return ENTRY_OUT.pack(node_id, 0, valid_s, also_s, 0, 0, *_attributes(status, least_blocks))


def pack_absence(valid_s: int) -> bytes:
    """The answer to LOOKUP that the kernel may remember: there is nothing of this name."""
    return ENTRY_OUT.pack(0, 0, valid_s, 0, 0, 0, *[0] * 16)


def pack_dirent(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """`kind` as of readdir(3)."""
    return DIRENT.pack(inode, offset, len(name), kind) + name + b"\0" * (-len(name) % 8)
