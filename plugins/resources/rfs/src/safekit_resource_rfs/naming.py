"""What gives, changes and takes names in the real directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Final

from safekit_resource_rfs import local, syscalls
from safekit_resource_rfs.changes import (
    Change,
    MakeDirectory,
    MakeFile,
    MakeLink,
    MakeNode,
    MakeSymlink,
    Remove,
    Rename,
)
from safekit_resource_rfs.defects import UNRECORDED
from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.protocol import Opcode
from safekit_resource_rfs.fuse.session import Request
from safekit_resource_rfs.reading import Kernel, Reading, error
from safekit_resource_rfs.recording import Recording
from safekit_resource_rfs.tree import Directory, Node, Tree

_PERMISSIONS: Final = 0o777
_RENAME_FLAGS: Final = syscalls.RENAME_NOREPLACE | syscalls.RENAME_EXCHANGE


class Naming(Reading):
    """Handlers that modify directories."""

    def __init__(self, tree: Tree, recording: Recording, pool: Executor, kernel: Kernel, *, is_writeback: bool) -> None:
        super().__init__(tree, recording, pool, kernel, is_writeback=is_writeback)
        self._umask = -1
        self.handlers |= {
            Opcode.SYMLINK: self.make_symlink,
            Opcode.MKNOD: self.make_node,
            Opcode.MKDIR: self.make_directory,
            Opcode.UNLINK: partial(self.remove, is_directory=False),
            Opcode.RMDIR: partial(self.remove, is_directory=True),
            Opcode.RENAME: self.rename,
            Opcode.RENAME2: self.rename_with_flags,
            Opcode.LINK: self.make_link,
        }

    # New names

    def make_node(self, request: Request) -> None:
        mode, device, umask, _ = protocol.MKNOD_IN.unpack_from(request.body)
        name = bytes(request.body[protocol.MKNOD_IN.size : -1])
        if not stat.S_ISREG(mode):
            self._make_special(request, name, mode, protocol.decode_device(device), umask)
            return
        parent, path, directory_fd = self._prepare(request, name)
        self._use_umask(umask)
        fd = local.make_file(directory_fd, name, mode & _PERMISSIONS)
        try:
            status = self._own(request, parent, name, mode, os.unlink)
        except OSError:
            os.close(fd)
            raise
        with UNRECORDED:
            node, entry = self._enter(parent, name, status)
            self._tree.adopt(node, fd)
            slot = 0 if node.is_excluded else self._recording.take_slot(node)
            change = MakeFile(path, slot, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            self._recording.finish(request, change, entry)

    def _make_special(self, request: Request, name: bytes, mode: int, device: int, umask: int) -> None:
        parent, path, directory_fd = self._prepare(request, name)
        self._use_umask(umask)
        os.mknod(name, stat.S_IFMT(mode) | (mode & _PERMISSIONS), device, dir_fd=directory_fd)
        status = self._own(request, parent, name, mode, os.unlink)
        with UNRECORDED:
            _, entry = self._enter(parent, name, status)
            self._recording.finish(request, MakeNode(path, status.st_mode, device, status.st_uid, status.st_gid), entry)

    def make_directory(self, request: Request) -> None:
        mode, umask = protocol.MKDIR_IN.unpack_from(request.body)
        name = bytes(request.body[protocol.MKDIR_IN.size : -1])
        parent, path, directory_fd = self._prepare(request, name)
        self._use_umask(umask)
        os.mkdir(name, mode & _PERMISSIONS, dir_fd=directory_fd)
        status = self._own(request, parent, name, mode, os.rmdir)
        with UNRECORDED:
            _, entry = self._enter(parent, name, status)
            change = MakeDirectory(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            self._recording.finish(request, change, entry)

    def make_symlink(self, request: Request) -> None:
        name, target = bytes(request.body[:-1]).split(b"\0")
        parent, path, directory_fd = self._prepare(request, name)
        os.symlink(target, name, dir_fd=directory_fd)
        status = self._own(request, parent, name, 0, os.unlink)
        with UNRECORDED:
            _, entry = self._enter(parent, name, status)
            self._recording.finish(request, MakeSymlink(path, target, status.st_uid, status.st_gid), entry)

    def _use_umask(self, umask: int) -> None:
        """The process's own becomes the caller's: whether a default ACL overrides it only the real directory knows."""
        if umask != self._umask:
            os.umask(umask)
            self._umask = umask

    def _prepare(self, request: Request, name: bytes) -> tuple[Directory, bytes, int]:
        """The directory, the path of the name, and the directory's descriptor; it is marked then."""
        parent = self._tree.directory(request.node_id)
        path = self._new_path(parent, name)
        self._recording.touch_entries(parent)
        return parent, path, self._tree.open(parent)

    def _new_path(self, parent: Directory, name: bytes) -> bytes:
        if parent is self._tree.root and name == local.RESERVED:
            raise error(errno.EPERM)
        return self._recording.path_in(parent, name)

    def _own(
        self, request: Request, parent: Directory, name: bytes, mode: int, remove: Callable[..., None]
    ) -> os.stat_result:
        """Give what was made its owner. OSError when that is refused, and it is removed again."""
        with UNRECORDED:
            directory_fd = self._tree.open(parent)
            try:
                return local.own(directory_fd, name, mode, request.uid, request.gid, may_inherit=True)
            except OSError as reason:
                remove(name, dir_fd=directory_fd)
                self._recording.defer_times(parent)
                refusal = reason
        raise refusal

    def _enter(self, parent: Directory, name: bytes, status: os.stat_result) -> tuple[Node, bytes]:
        """Make known what was made; the answer names it."""
        entry = self.entry(parent, name, status)
        node = parent.children[name]
        with suppress(OSError):  # it is marked of its own then
            self._recording.cover(node)
        self._recording.defer_times(parent, node)
        return node, entry

    def make_link(self, request: Request) -> None:
        (old_id,) = protocol.LINK_IN.unpack_from(request.body)
        name = bytes(request.body[protocol.LINK_IN.size : -1])
        node = self.named(old_id)
        if node.parent is None:
            raise error(errno.ENOENT)
        existing = self._recording.path_in(node.parent, node.name)
        parent = self._tree.directory(request.node_id)
        path = self._new_path(parent, name)
        self._require_alike(node, existing, path)
        self._recording.touch_names([node], node.parent, parent)
        directory_fd = self._tree.open(parent)
        old_fd = self._tree.open(node.parent)
        os.link(node.name, name, src_dir_fd=old_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
        with UNRECORDED:
            entry = self.entry(parent, name, local.status(directory_fd, name))
            self._recording.defer_times(parent)
            self._recording.finish(request, MakeLink(path, existing), entry)

    # Names that go

    def remove(self, request: Request, *, is_directory: bool) -> None:
        name = bytes(request.body[:-1])
        parent = self._tree.directory(request.node_id)
        path = self._new_path(parent, name)
        self._recording.touch_removal(parent, name)
        directory_fd = self._tree.open(parent)
        victim = self._pin(parent, name)
        try:
            (os.rmdir if is_directory else os.unlink)(name, dir_fd=directory_fd)
        except OSError:
            self._unpin(victim)
            raise
        with UNRECORDED:
            self._lose_name(parent, name)
            self._recording.defer_times(parent)
            self._recording.finish(request, Remove(path, is_directory))

    def _pin(self, parent: Directory, name: bytes) -> Node | None:
        """The node that is about to lose its only known name is kept open, and what is due of it is recorded."""
        node = parent.children.get(name)
        if node is None or node.links:
            return node
        self._tree.pin(node)
        if not isinstance(node, Directory) and os.fstat(node.fd).st_nlink > 1:
            self._recording.flush_time(node)
            node.is_astray = True
        return node

    def _unpin(self, node: Node | None) -> None:
        if node is not None:
            node.is_astray = False
            self._tree.unpin(node)

    def _lose_name(self, parent: Directory, name: bytes) -> None:
        node = self._tree.detach(parent, name)
        if node is None:
            return
        self._recording.release(node)  # a slot goes with the name that it was bound by: another one is bound anew
        if node.parent is None and self._tree.is_unused(node):
            self._recording.drop(node)

    # Names that change

    def rename(self, request: Request) -> None:
        (new_id,) = protocol.RENAME_IN.unpack_from(request.body)
        self._rename(request, new_id, 0, request.body[protocol.RENAME_IN.size :])

    def rename_with_flags(self, request: Request) -> None:
        new_id, flags, _ = protocol.RENAME2_IN.unpack_from(request.body)
        if flags & ~_RENAME_FLAGS:
            raise error(errno.EINVAL)
        self._rename(request, new_id, flags, request.body[protocol.RENAME2_IN.size :])

    def _rename(self, request: Request, new_id: int, flags: int, names: memoryview) -> None:
        old_name, new_name = bytes(names[:-1]).split(b"\0")
        old, new = self._tree.directory(request.node_id), self._tree.directory(new_id)
        change = Rename(self._new_path(old, old_name), self._new_path(new, new_name), flags)
        self._require_alike(old.children.get(old_name), change.old, change.new)
        if flags & syscalls.RENAME_EXCHANGE:
            self._require_alike(new.children.get(new_name), change.new, change.old)
        moved = [old.children.get(old_name)]
        if flags & syscalls.RENAME_EXCHANGE:
            moved.append(new.children.get(new_name))
        self._recording.touch_names(moved, old, new, b"" if flags else new_name)
        victim = None if flags else self._pin(new, new_name)
        try:
            syscalls.rename(self._tree.open(old), old_name, self._tree.open(new), new_name, flags)
        except OSError:
            self._unpin(victim)
            raise
        with UNRECORDED:
            if flags & syscalls.RENAME_EXCHANGE:
                self._exchange((old, old_name), (new, new_name))
            else:
                self._move((old, old_name), (new, new_name))
            self._recording.defer_times(old, new)
            self._recording.finish(request, change)

    def _require_alike(self, node: Node | None, old: bytes, new: bytes) -> None:
        """OSError EXDEV, upon which mv(1) copies, where a new name would change what is replicated."""
        exclusion = self._tree.exclusion
        if not exclusion:
            return
        is_excluded = exclusion.holds(old)
        below = isinstance(node, Directory) and not is_excluded
        if exclusion.holds(new) != is_excluded or (
            below and (exclusion.reaches_below(old) or exclusion.reaches_below(new))
        ):
            raise error(errno.EXDEV)

    def _move(self, source: tuple[Directory, bytes], target: tuple[Directory, bytes]) -> None:
        self._lose_name(*target)
        node = self._tree.detach(*source)
        if node is not None:
            self._tree.attach(node, *target)

    def _exchange(self, first: tuple[Directory, bytes], second: tuple[Directory, bytes]) -> None:
        one, other = self._tree.detach(*first), self._tree.detach(*second)
        if one is not None:
            self._tree.attach(one, *second)
        if other is not None:
            self._tree.attach(other, *first)

    # For all that modify

    def named(self, node_id: int) -> Node:
        """The node, by a name if it has any."""
        node = self._tree.find(node_id)
        if node.is_astray:
            self._recording.find_name(node, self._pool)
        return node

    def _finish(self, request: Request, changes: Sequence[Change], payload: bytes = b"") -> None:
        """Record all, and answer with the last."""
        if not changes:
            request.reply(payload)
            return
        self._note(changes[:-1])
        self._recording.finish(request, changes[-1], payload)

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._recording.note(change)
