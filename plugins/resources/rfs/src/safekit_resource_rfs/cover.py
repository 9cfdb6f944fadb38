"""What stands over the real directory while this node is not primary: an unwritable directory with one file that says
where the data are."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import Final

from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.protocol import ROOT_ID, Opcode
from safekit_resource_rfs.fuse.session import Handler, Request
from safekit_sdk.replicated import NOTICE

NOTICE_NAME: Final = NOTICE.encode()
_VALID_S: Final = 0
_REFUSED: Final = (
    *(
        Opcode.SETATTR,
        Opcode.SYMLINK,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.LINK,
    ),
    *(Opcode.WRITE, Opcode.SETXATTR, Opcode.REMOVEXATTR, Opcode.FALLOCATE, Opcode.RENAME2),
)
_REGULAR, _DIRECTORY = 8, 4
"""Types as of readdir(3)."""


class Cover:
    """What was opened before answers ESTALE. ENOSYS is never answered to what the other mode can do: the kernel would
    not ask again."""

    def __init__(self, root_fd: int, notice: bytes, notice_id: int) -> None:
        self._root_fd = root_fd
        self.notice = notice
        self.notice_id = notice_id
        self._made_ns = time.time_ns()
        self.handlers: dict[int, Handler] = {
            Opcode.LOOKUP: self._look_up,
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._forget,
            Opcode.GETATTR: self._get_attributes,
            Opcode.READ: self._read,
            Opcode.READDIR: self._list_names,
            Opcode.READDIRPLUS: self._list_entries,
            Opcode.STATFS: self._get_space,
            Opcode.GETXATTR: self._have_no_xattr,
            Opcode.LISTXATTR: self._have_no_xattr,
            Opcode.READLINK: self._be_stale,
            Opcode.LSEEK: self._seek,
            Opcode.FSYNC: self._succeed,
            Opcode.FSYNCDIR: self._succeed,
            **dict.fromkeys(_REFUSED, self._refuse),
        }

    def _status(self, node_id: int) -> os.stat_result:
        is_root = node_id == ROOT_ID
        mode = stat.S_IFDIR | 0o555 if is_root else stat.S_IFREG | 0o444
        size = 0 if is_root else len(self.notice)
        inode = os.fstat(self._root_fd).st_ino if is_root else node_id
        fields = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), self._made_ns)
        fields |= {"st_blocks": (size + 511) // 512, "st_blksize": 4096, "st_rdev": 0}
        return os.stat_result((mode, inode, 0, 2 if is_root else 1, 0, 0, size, 0, 0, 0), fields)

    def _require(self, request: Request, *node_ids: int) -> None:
        if request.node_id not in node_ids:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _look_up(self, request: Request) -> None:
        self._require(request, ROOT_ID)
        if bytes(request.body[:-1]) != NOTICE_NAME:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        request.reply(protocol.pack_entry(self.notice_id, self._status(self.notice_id), _VALID_S))

    def _forget(self, request: Request) -> None:
        request.answered = True

    def _get_attributes(self, request: Request) -> None:
        self._require(request, ROOT_ID, self.notice_id)
        request.reply(protocol.pack_attributes(self._status(request.node_id), _VALID_S))

    def _read(self, request: Request) -> None:
        self._require(request, self.notice_id)
        _, offset, size, _ = protocol.READ_IN.unpack_from(request.body)
        request.reply(self.notice[offset : offset + size])

    def _seek(self, request: Request) -> None:
        self._require(request, self.notice_id)
        _, offset, whence, _ = protocol.LSEEK_IN.unpack_from(request.body)
        if offset >= len(self.notice):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        request.reply(protocol.LSEEK_OUT.pack(offset if whence == os.SEEK_DATA else len(self.notice)))

    def _entries(self, request: Request) -> list[tuple[int, bytes]]:
        """Each packed, with its node."""
        self._require(request, ROOT_ID)
        _, offset, _, _ = protocol.READ_IN.unpack_from(request.body)
        inode = os.fstat(self._root_fd).st_ino
        entries = [(inode, _DIRECTORY, b"."), (inode, _DIRECTORY, b".."), (self.notice_id, _REGULAR, NOTICE_NAME)]
        numbered = list(enumerate(entries, start=1))[offset:]
        return [(entry[0], protocol.pack_dirent(entry[0], number, *entry[1:])) for number, entry in numbered]

    def _list_names(self, request: Request) -> None:
        request.reply(b"".join(packed for _, packed in self._entries(request)))

    def _list_entries(self, request: Request) -> None:
        notice = protocol.pack_entry(self.notice_id, self._status(self.notice_id), _VALID_S)
        nothing = bytes(protocol.ENTRY_OUT.size)
        request.reply(
            b"".join(
                (notice if node_id == self.notice_id else nothing) + packed
                for node_id, packed in self._entries(request)
            )
        )

    def _get_space(self, request: Request) -> None:
        found = os.fstatvfs(self._root_fd)
        blocks = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        request.reply(protocol.STATFS_OUT.pack(*blocks, found.f_bsize, found.f_namemax, found.f_frsize, 0))

    def _have_no_xattr(self, request: Request) -> None:
        self._require(request, ROOT_ID, self.notice_id)
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def _be_stale(self, request: Request) -> None:
        self._require(request)

    def _succeed(self, request: Request) -> None:
        self._require(request, ROOT_ID, self.notice_id)
        request.reply()

    def _refuse(self, request: Request) -> None:
        self._require(request, ROOT_ID, self.notice_id)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def write_notice(peer: str) -> bytes:
    """What README.safekit says; `peer` is empty while it is not known."""
    where = f"the node {peer}" if peer else "the other node"
    return (
        "This directory is replicated by safekit, and this node is not its primary.\n"
        f"The data are served by {where}; `safekit rfs status` says more. Nothing can be written here.\n"
    ).encode()
