"""What modifies the real directory for the kernel: mark, execute, record, answer."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Final

from safekit_resource_rfs import local, syscalls
from safekit_resource_rfs.changes import (
    Allocate,
    Change,
    RemoveXattr,
    Resize,
    SetAttributes,
    SetXattr,
    Sync,
    SyncDirectory,
    Write,
)
from safekit_resource_rfs.disks import Disks
from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.protocol import Opcode, SetAttr
from safekit_resource_rfs.fuse.session import Request
from safekit_resource_rfs.naming import Naming
from safekit_resource_rfs.reading import VALID_S, Prune
from safekit_resource_rfs.recorder import Recorder
from safekit_resource_rfs.recording import Recording
from safekit_resource_rfs.tree import Directory, Node, Tree

_CLOCK_REALTIME_COARSE: Final = 5
"""The clock of the kernel's own time stamps."""


class Filesystem(Naming):
    """The real directory as the kernel sees it while this node is primary."""

    def __init__(self, tree: Tree, recorder: Recorder, pool: Executor, prune: Prune) -> None:
        super().__init__(tree, Recording(tree, recorder), pool, prune)
        self._recorder = recorder
        self.handlers |= {
            Opcode.SETATTR: self.set_attributes,
            Opcode.WRITE: self.write,
            Opcode.FSYNC: self.sync,
            Opcode.FSYNCDIR: self.sync_directory,
            Opcode.SETXATTR: self.set_xattr,
            Opcode.REMOVEXATTR: self.remove_xattr,
            Opcode.FALLOCATE: self.allocate,
        }

    @property
    def next_id(self) -> int:
        return self._tree.next_id

    @property
    def nodes(self) -> int:
        return len(self._tree.nodes)

    @property
    def known(self) -> list[tuple[int, list[bytes]]]:
        """Node ids that the kernel may know, and the names in each."""
        return [
            (node.id, list(node.children) if isinstance(node, Directory) else []) for node in self._tree.nodes.values()
        ]

    def forget_slots(self) -> None:
        self._recording.forget_slots()

    def flush_times(self) -> None:
        self._recording.flush_times()

    def record_times(self) -> None:
        self._recording.record_times()

    async def settle_times(self) -> None:
        """Record the times of modification that are still due."""
        await self._recording.settle_times()

    def close(self) -> None:
        self._recording.close()
        self._tree.close_all()

    # Data

    def write(self, request: Request) -> None:
        _, offset, size, flags, _, _, _ = protocol.WRITE_IN.unpack_from(request.body)
        node = self.named(request.node_id)
        recording = self._recording
        recording.touch_data(node, offset, size)
        if flags & protocol.WRITE_KILL_SUIDGID:
            recording.touch_attributes(node)
        if not node.slot:
            recording.path(node)
        data = request.body[protocol.WRITE_IN.size : protocol.WRITE_IN.size + size]
        try:
            written = os.pwrite(self._tree.open(node), data, offset)
        except OSError:  # a disk that is full has set the time all the same
            recording.defer_times(node)
            raise
        payload = protocol.WRITE_OUT.pack(written, 0)
        if flags & protocol.WRITE_KILL_SUIDGID:
            self._kill_set_id(node)
        if not recording.is_recorded(node):
            request.reply(payload)
            return
        change = Write(recording.slot(node), offset, bytes(data[:written]))
        if not node.is_dirty:
            recording.defer_times(node)
        recording.finish(request, change, payload)

    def allocate(self, request: Request) -> None:
        _, offset, length, mode, _ = protocol.FALLOCATE_IN.unpack_from(request.body)
        node = self.named(request.node_id)
        self._recording.touch_data(node, offset, length)
        self._recording.touch_attributes(node)
        self._recording.path(node)
        try:
            local.allocate(self._tree.open(node), mode, offset, length)
        except OSError:
            self._recording.defer_times(node)
            raise
        if request.uid:
            self._kill_set_id(node)
        if not self._recording.is_recorded(node):
            request.reply()
            return
        self._recording.defer_times(node)
        self._recording.finish(request, Allocate(self._recording.slot(node), mode, offset, length))

    def _kill_set_id(self, node: Node) -> None:
        mode = stat.S_IMODE(self._recording.status(node).st_mode)
        if local.without_set_id(mode) != mode:
            local.set_mode(*self._recording.place(node), local.without_set_id(mode))
            path = self._recording.path(node)
            if path is not None:
                self._recording.note(SetAttributes(path, mode=local.without_set_id(mode)))

    def sync(self, request: Request) -> None:
        _, flags, _ = protocol.FSYNC_IN.unpack_from(request.body)
        node, data_only = self.named(request.node_id), bool(flags & protocol.FSYNC_DATA_ONLY)
        if not data_only:
            self._recording.flush_time(node)
        peer = None
        if node.is_regular and self._recording.path(node) is not None:
            peer = self._recorder.synced(Sync(self._recording.slot(node), data_only))
        self._await_disks(request, os.fdatasync if data_only else os.fsync, self._tree.open(node), peer)

    def sync_directory(self, request: Request) -> None:
        directory = self._tree.directory(request.node_id)
        self._recording.flush_time(directory)
        path = self._recording.path(directory)
        peer = None if path is None else self._recorder.synced(SyncDirectory(path))
        self._await_disks(request, os.fsync, self._tree.open(directory), peer)

    def _await_disks(
        self, request: Request, call: Callable[[int], None], fd: int, peer: Awaitable[None] | None
    ) -> None:
        """Answer when the own disk has it and the peer's."""
        request.is_interruptible = True
        request.hold()
        disks = Disks(request, 1 if peer is None else 2)
        if peer is not None:
            asyncio.ensure_future(peer).add_done_callback(disks.heard)
        self._pool.submit(disks.wait, call, os.dup(fd))

    # Attributes

    def set_attributes(self, request: Request) -> None:
        fields = protocol.SETATTR_IN.unpack_from(request.body)
        valid = SetAttr(fields[0])
        node = self.named(request.node_id)
        self._recording.touch_attributes(node)
        path = self._recording.path(node)
        changes: list[Change] = []
        if valid & SetAttr.SIZE:
            self._resize(node, fields[2], changes, kill=bool(valid & SetAttr.KILL_SUIDGID))
        attributes = self._set(node, valid, fields)
        if "mtime_ns" in attributes:
            self._recording.settle_time(node)
        status = self._recording.status(node)
        payload = protocol.pack_attributes(status, VALID_S)
        if valid & (SetAttr.UID | SetAttr.GID) and not stat.S_ISLNK(status.st_mode):
            attributes["mode"] = stat.S_IMODE(status.st_mode)
        if attributes and path is not None:
            changes.append(SetAttributes(path, **attributes))
        self._finish(request, changes, payload)

    def _resize(self, node: Node, size: int, changes: list[Change], *, kill: bool) -> None:
        self._recording.touch_data(node, 0, -1)
        os.ftruncate(self._tree.open(node), size)
        if kill:
            self._kill_set_id(node)
        if self._recording.is_recorded(node):
            changes.append(Resize(self._recording.slot(node), size))
            self._recording.defer_times(node)

    def _set(self, node: Node, valid: SetAttr, fields: tuple[int, ...]) -> dict[str, int]:
        """Owner, mode and times, in the order that leaves what is asked for."""
        place = self._recording.place(node)
        done: dict[str, int] = {}
        if valid & SetAttr.UID:
            done["uid"] = fields[12]
        if valid & SetAttr.GID:
            done["gid"] = fields[13]
        if done:
            local.set_owner(*place, done.get("uid", -1), done.get("gid", -1))
        if valid & SetAttr.MODE:
            done["mode"] = stat.S_IMODE(fields[10])
            local.set_mode(*place, done["mode"])
        return done | self._set_times(place, valid, fields)

    @staticmethod
    def _set_times(place: tuple[int, bytes], valid: SetAttr, fields: tuple[int, ...]) -> dict[str, int]:
        done: dict[str, int] = {}
        now_ns = _coarse_now_ns()
        if valid & SetAttr.ATIME:
            done["atime_ns"] = now_ns if valid & SetAttr.ATIME_NOW else fields[4] * 10**9 + fields[7]
        if valid & SetAttr.MTIME:
            done["mtime_ns"] = now_ns if valid & SetAttr.MTIME_NOW else fields[5] * 10**9 + fields[8]
        if done:
            syscalls.set_times(*place, done.get("atime_ns"), done.get("mtime_ns"))
        return done

    def set_xattr(self, request: Request) -> None:
        size, flags, extra, _ = protocol.SETXATTR_IN.unpack_from(request.body)
        key, _, value = bytes(request.body[protocol.SETXATTR_IN.size :]).partition(b"\0")
        node, place = self._touched(request)
        path = self._recording.path(node)
        local.set_xattr(*place, key, value[:size], flags)
        changes: list[Change] = []
        if path is not None and local.is_replicated(key):
            changes.append(SetXattr(path, key, value[:size]))
        if extra & protocol.XATTR_KILL_SGID:
            mode = stat.S_IMODE(self._recording.status(node).st_mode) & ~stat.S_ISGID
            local.set_mode(*place, mode)
            if path is not None:
                changes.append(SetAttributes(path, mode=mode))
        self._finish(request, changes)

    def remove_xattr(self, request: Request) -> None:
        key = bytes(request.body[:-1])
        node, place = self._touched(request)
        path = self._recording.path(node)
        local.remove_xattr(*place, key)
        self._finish(request, [RemoveXattr(path, key)] if path is not None and local.is_replicated(key) else [])

    def _touched(self, request: Request) -> tuple[Node, tuple[int, bytes]]:
        node = self.named(request.node_id)
        self._recording.touch_attributes(node)
        return node, self._recording.place(node)


def _coarse_now_ns() -> int:
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
