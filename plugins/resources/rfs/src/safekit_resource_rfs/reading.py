"""What reads the real directory for the kernel: names, attributes, data, listings."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from safekit_resource_rfs import local
from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.protocol import MAX_WRITE_BYTES, Opcode
from safekit_resource_rfs.fuse.session import Handler, Request
from safekit_resource_rfs.recording import Recording
from safekit_resource_rfs.syscalls import DirectoryEntry, read_directory
from safekit_resource_rfs.tree import Directory, Tree

_TRUSTED: Final = b"trusted."
"""Only shown to who may read them."""
_PRUNED_PART: Final = 0.05
"""Of the nodes, at a time."""
VALID_S: Final = 3600
"""The kernel may keep what it was told: nobody else modifies the directory."""
MAX_ABSENT: Final = 4096
"""Names in the root of which the kernel may keep that they are not there; of more it has to ask each time."""
_HELD_BACK_VALID_S: Final = 1
"""Of attributes, where the kernel writes later: only we know then how many blocks a file has."""
_HELD_BACK_BLOCKS: Final = 1
"""At least, where the kernel writes later: a file with none has no data for tar(1), which looks no further."""


class Kernel(Protocol):
    """What it is told unasked. Both can wait for requests."""

    def prune(self, node_ids: Sequence[int]) -> None:
        """Forget these, where nobody uses them."""

    def invalidate_inode(self, node_id: int) -> None:
        """Write what is held of its data, and forget them."""


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Reading:
    """Handlers that modify nothing."""

    def __init__(self, tree: Tree, recording: Recording, pool: Executor, kernel: Kernel, *, is_writeback: bool) -> None:
        self._tree = tree
        self._recording = recording
        self._pool = pool
        self._kernel = kernel
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="telling")
        """For what waits for requests, which the pool may have to answer."""
        self._attributes_valid_s, self._least_blocks = (
            (_HELD_BACK_VALID_S, _HELD_BACK_BLOCKS) if is_writeback else (VALID_S, 0)
        )
        self._absent: set[bytes] = set()
        """Names in the root of which the kernel keeps that they are not there. Those in other directories go with
        these when the directory is forgotten; the root is not."""
        self._is_pruning = False
        self._loop = asyncio.get_running_loop()
        self._view = memoryview(bytearray(MAX_WRITE_BYTES))
        self.handlers: dict[int, Handler] = {
            Opcode.LOOKUP: self.look_up,
            Opcode.FORGET: self.forget,
            Opcode.BATCH_FORGET: self.forget_many,
            Opcode.GETATTR: self.get_attributes,
            Opcode.READLINK: self.read_link,
            Opcode.READ: self.read,
            Opcode.READDIR: self.list_names,
            Opcode.READDIRPLUS: self.list_entries,
            Opcode.STATFS: self.get_space,
            Opcode.GETXATTR: self.get_xattr,
            Opcode.LISTXATTR: self.list_xattrs,
            Opcode.LSEEK: self.seek,
        }

    def close(self) -> None:
        self._telling.shutdown(wait=False, cancel_futures=True)

    # Names

    def look_up(self, request: Request) -> None:
        parent = self._tree.directory(request.node_id)
        name = bytes(request.body[:-1])
        try:
            if parent is self._tree.root and name == local.RESERVED:
                raise FileNotFoundError
            status = local.status(self._tree.open(parent), name)
        except FileNotFoundError:
            request.reply(protocol.pack_absence(self._absence_valid_s(parent, name)))
            return
        request.reply(self.entry(parent, name, status))

    def _absence_valid_s(self, parent: Directory, name: bytes) -> int:
        if parent is not self._tree.root:
            return VALID_S
        if len(self._absent) >= MAX_ABSENT and name not in self._absent:
            return 0
        self._absent.add(name)
        return VALID_S

    def entry(self, parent: Directory, name: bytes, status: os.stat_result) -> bytes:
        """The answer that names a node; the kernel knows it once more."""
        if status.st_dev != self._tree.device:
            raise error(errno.EXDEV)  # something is mounted there: it is not replicated
        node = self._tree.look_up(parent, name, status)
        if parent is self._tree.root:
            self._absent.discard(name)
        if len(self._tree.nodes) > self._tree.max_nodes and not self._is_pruning:
            self._prune()
        return protocol.pack_entry(node.id, status, VALID_S, self._attributes_valid_s, self._least_blocks)

    def _prune(self) -> None:
        """Memory for what nobody uses is bounded, where the kernel forgets it when it is asked."""
        self._is_pruning = True
        oldest = self._tree.oldest(int(len(self._tree.nodes) * _PRUNED_PART))
        self._telling.submit(self._kernel.prune, oldest).add_done_callback(self._have_pruned)

    def _have_pruned(self, _: Future[None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(setattr, self, "_is_pruning", False)

    def forget(self, request: Request) -> None:
        request.answered = True
        (count,) = protocol.FORGET_IN.unpack_from(request.body)
        self._forget(request.node_id, count)

    def forget_many(self, request: Request) -> None:
        request.answered = True
        count, _ = protocol.BATCH_FORGET_IN.unpack_from(request.body)
        start = protocol.BATCH_FORGET_IN.size
        for node_id, lookups in protocol.FORGET_ONE.iter_unpack(
            request.body[start : start + count * protocol.FORGET_ONE.size]
        ):
            self._forget(node_id, lookups)

    def _forget(self, node_id: int, count: int) -> None:
        unused = self._tree.forget(node_id, count)
        if unused is not None:
            self._recording.drop(unused)

    # Attributes

    def get_attributes(self, request: Request) -> None:
        status = self._recording.status(self._tree.find(request.node_id))
        request.reply(self.attributes(status))

    def attributes(self, status: os.stat_result) -> bytes:
        return protocol.pack_attributes(status, self._attributes_valid_s, self._least_blocks)

    def read_link(self, request: Request) -> None:
        directory_fd, name = self._recording.place(self._tree.find(request.node_id))
        request.reply(os.readlink(name, dir_fd=directory_fd))

    def get_space(self, request: Request) -> None:
        found = os.fstatvfs(self._tree.root.fd)
        blocks = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        request.reply(protocol.STATFS_OUT.pack(*blocks, found.f_bsize, found.f_namemax, found.f_frsize, 0))

    def get_xattr(self, request: Request) -> None:
        size, _ = protocol.GETXATTR_IN.unpack_from(request.body)
        key = bytes(request.body[protocol.GETXATTR_IN.size : -1])
        node = self._tree.find(request.node_id)
        if node.is_regular and node.fd >= 0:  # the kernel looks for a capability before the first write
            value = os.getxattr(node.fd, key)
        else:
            value = local.get_xattr(*self._recording.place(node), key)
        self._reply_sized(request, size, value)

    def list_xattrs(self, request: Request) -> None:
        size, _ = protocol.GETXATTR_IN.unpack_from(request.body)
        keys = local.list_xattrs(*self._recording.place(self._tree.find(request.node_id)))
        if request.uid:
            keys = [key for key in keys if not key.startswith(_TRUSTED)]
        self._reply_sized(request, size, b"".join(key + b"\0" for key in keys))

    @staticmethod
    def _reply_sized(request: Request, size: int, value: bytes) -> None:
        """The size alone when none is given."""
        if size == 0:
            request.reply(protocol.GETXATTR_OUT.pack(len(value), 0))
        elif len(value) > size:
            raise error(errno.ERANGE)
        else:
            request.reply(value)

    # Data

    def read(self, request: Request) -> None:
        """From the page cache at once; what is not there is read by the pool."""
        _, offset, size, _ = protocol.READ_IN.unpack_from(request.body)
        fd = self._tree.open(self._tree.find(request.node_id))
        part = self._view[:size]
        try:
            count = os.preadv(fd, [part], offset, os.RWF_NOWAIT)
        except OSError as reason:
            if reason.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise
            count = -1
        if count == size or (count >= 0 and offset + count >= os.fstat(fd).st_size):
            request.reply(part[:count])
        else:
            request.hold()
            self._pool.submit(self._read_blocking, request, os.dup(fd), offset, size)

    @staticmethod
    def _read_blocking(request: Request, fd: int, offset: int, size: int) -> None:
        try:
            request.reply(os.pread(fd, size, offset))
        except OSError as reason:
            request.fail(reason.errno or errno.EIO)
        finally:
            os.close(fd)

    def seek(self, request: Request) -> None:
        """To data or a hole. What the kernel still holds of the file, written through memory maps or later, would be
        a hole: it is written first."""
        _, offset, whence, _ = protocol.LSEEK_IN.unpack_from(request.body)
        node = self._tree.find(request.node_id)
        request.is_interruptible = True
        request.hold()
        self._telling.submit(self._seek_blocking, request, node.id, os.dup(self._tree.open(node)), offset, whence)

    def _seek_blocking(self, request: Request, node_id: int, fd: int, offset: int, whence: int) -> None:
        try:
            self._kernel.invalidate_inode(node_id)
            request.reply(protocol.LSEEK_OUT.pack(os.lseek(fd, offset, whence)))
        except OSError as reason:
            request.fail(reason.errno or errno.EIO)
        finally:
            os.close(fd)

    # Listings

    def list_names(self, request: Request) -> None:
        directory, offset, size = self._listing_wanted(request)
        payload = bytearray()
        entries = self._entries(directory, offset)
        for number, entry in enumerate(entries):
            packed = protocol.pack_dirent(entry.inode, entry.offset, entry.kind, entry.name)
            if len(payload) + len(packed) > size:
                directory.listing = (offset, entries[number:])
                break
            offset = entry.offset
            if not self._is_hidden(directory, entry.name):
                payload += packed
        request.reply(bytes(payload))

    def list_entries(self, request: Request) -> None:
        directory, offset, size = self._listing_wanted(request)
        directory_fd = self._tree.open(directory)
        payload = bytearray()
        entries = self._entries(directory, offset)
        for number, entry in enumerate(entries):
            room = len(payload) + protocol.ENTRY_OUT.size + protocol.DIRENT.size + ((len(entry.name) + 7) & ~7)
            if room > size:
                directory.listing = (offset, entries[number:])
                break
            offset = entry.offset
            if not self._is_hidden(directory, entry.name):
                payload += self._pack_known(directory, directory_fd, entry)
                payload += protocol.pack_dirent(entry.inode, entry.offset, entry.kind, entry.name)
        request.reply(bytes(payload))

    def _pack_known(self, directory: Directory, directory_fd: int, entry: DirectoryEntry) -> bytes:
        """The attributes with an entry; without a node for the dots, what is mounted there, and what is gone."""
        if entry.name in (b".", b".."):
            return bytes(protocol.ENTRY_OUT.size)
        try:
            return self.entry(directory, entry.name, local.status(directory_fd, entry.name))
        except OSError:
            return bytes(protocol.ENTRY_OUT.size)

    def _is_hidden(self, directory: Directory, name: bytes) -> bool:
        return name == local.RESERVED and directory is self._tree.root

    def _listing_wanted(self, request: Request) -> tuple[Directory, int, int]:
        _, offset, size, _ = protocol.READ_IN.unpack_from(request.body)
        return self._tree.directory(request.node_id), offset, size

    def _entries(self, directory: Directory, offset: int) -> list[DirectoryEntry]:
        """Those from the offset on, as many as one call brings; at least one when there are any that are shown."""
        kept, directory.listing = directory.listing, None
        if kept is not None and kept[0] == offset and offset:
            return kept[1]
        fd = self._tree.open(directory)
        os.lseek(fd, _signed(offset), os.SEEK_SET)
        found = read_directory(fd)
        if found and all(self._is_hidden(directory, entry.name) for entry in found):
            found += read_directory(fd)
        return found


def _signed(offset: int) -> int:
    return offset - (1 << 64) if offset >= 1 << 63 else offset
