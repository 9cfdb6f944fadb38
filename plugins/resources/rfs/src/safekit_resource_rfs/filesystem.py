"""What modifies the real directory for the kernel: mark, execute, record, answer."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

from safekit_resource_rfs import local, syscalls, treestate
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
from safekit_resource_rfs.defects import STEP, UNRECORDED, end_process
from safekit_resource_rfs.disks import Disks
from safekit_resource_rfs.expecting import Expecting
from safekit_resource_rfs.fuse import protocol
from safekit_resource_rfs.fuse.protocol import ROOT_ID, Opcode, SetAttr
from safekit_resource_rfs.fuse.session import Request
from safekit_resource_rfs.handover import TreeState
from safekit_resource_rfs.naming import Naming
from safekit_resource_rfs.reading import Kernel
from safekit_resource_rfs.recorder import Recorder
from safekit_resource_rfs.recording import Recording
from safekit_resource_rfs.syncing import Syncer
from safekit_resource_rfs.tree import Directory, Node, Tree

_CLOCK_REALTIME_COARSE: Final = 5
"""The clock of the kernel's own time stamps."""

_SAID: Final = SetAttr.MODE | SetAttr.UID | SetAttr.GID | SetAttr.SIZE | SetAttr.ATIME | SetAttr.MTIME


class Filesystem(Naming):
    """The real directory as the kernel sees it while this node is primary."""

    def __init__(self, tree: Tree, recorder: Recorder, pool: Executor, kernel: Kernel, *, is_writeback: bool) -> None:
        super().__init__(tree, Recording(tree, recorder), pool, kernel, is_writeback=is_writeback)
        self._recorder = recorder
        self._syncer = Syncer(pool)
        self._expecting = Expecting()
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
        """Node ids that the kernel may know, and the names in each; in the root those too that are not there."""
        nodes = self._tree.nodes.values()
        known = [(node.id, list(node.children) if isinstance(node, Directory) else []) for node in nodes]
        return [*known, (ROOT_ID, list(self._absent))]

    @property
    def tree_state(self) -> TreeState:
        return treestate.take(self._tree, self._absent)

    def recall_absent(self, state: TreeState) -> None:
        self._absent = {treestate.raw(name) for name in state.absent}

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
        super().close()
        self._recording.close()
        self._syncer.close()
        self._tree.close_all()

    # Data

    def write(self, request: Request) -> None:
        _, offset, size, flags, _, _, _ = protocol.WRITE_IN.unpack_from(request.body)
        node = self.named(request.node_id)
        recording = self._recording
        recording.touch_data(node, offset, size)
        place = None
        if flags & protocol.WRITE_KILL_SUIDGID:
            recording.touch_attributes(node)
            place = recording.place(node)
        if place or not node.slot:
            recording.path(node)
        data = request.body[protocol.WRITE_IN.size : protocol.WRITE_IN.size + size]
        fd = self._tree.open(node)
        is_last = self._expecting.writes(node)
        try:
            written = os.pwrite(fd, data, offset)
        except OSError:  # a disk that is full has set the time all the same
            recording.defer_times(node)
            raise
        with UNRECORDED:
            payload = protocol.WRITE_OUT.pack(written, 0)
            if place:
                self._kill_set_id(node, place)
            if not recording.is_recorded(node):
                request.reply(payload)
                return
            change = Write(recording.slot(node), offset, bytes(data[:written]))
            if not node.is_dirty:
                recording.defer_times(node)
            recording.finish(request, change, payload)
        if is_last:
            with suppress(OSError):  # nobody asked for it yet
                self._expecting.began(node, self._begin_sync(fd, True, change=Sync(change.slot, True)))

    def allocate(self, request: Request) -> None:
        _, offset, length, mode, _ = protocol.FALLOCATE_IN.unpack_from(request.body)
        node = self.named(request.node_id)
        self._recording.touch_data(node, offset, length)
        self._recording.touch_attributes(node)
        self._recording.path(node)
        place = self._recording.place(node)
        self._expecting.changes(node)
        try:
            local.allocate(self._tree.open(node), mode, offset, length)
        except OSError as reason:
            self._recording.defer_times(node)
            if mode & local.ZEROING and reason.errno not in local.UNTOUCHED:
                self._zero_all(node, offset, length)
            raise
        with UNRECORDED:
            if request.uid:
                self._kill_set_id(node, place)
            if not self._recording.is_recorded(node):
                request.reply()
                return
            self._recording.defer_times(node)
            self._recording.finish(request, Allocate(self._recording.slot(node), mode, offset, length))

    def _zero_all(self, node: Node, offset: int, length: int) -> None:
        """A part of what was to be zeros may be zeros, nobody knows which: make the rest so, without any space."""
        with UNRECORDED:
            local.allocate(self._tree.open(node), local.PUNCH, offset, length)
            if self._recording.is_recorded(node):
                self._recording.note(Allocate(self._recording.slot(node), local.PUNCH, offset, length))

    def _kill_set_id(self, node: Node, place: tuple[int, bytes]) -> None:
        mode = stat.S_IMODE(self._recording.status(node).st_mode)
        if local.without_set_id(mode) != mode:
            local.set_mode(*place, local.without_set_id(mode))
            path = self._recording.path(node)
            if path is not None:
                self._recording.note(SetAttributes(path, mode=local.without_set_id(mode)))

    def sync(self, request: Request) -> None:
        _, flags, _ = protocol.FSYNC_IN.unpack_from(request.body)
        node, data_only = self.named(request.node_id), bool(flags & protocol.FSYNC_DATA_ONLY)
        if not data_only:
            self._recording.flush_time(node)
            self._expecting.changes(node)
        change, begun = None, None
        if node.is_regular and self._recording.path(node) is not None:
            change = Sync(self._recording.slot(node), data_only)
            begun = self._expecting.asked(node) if data_only else None
        (begun or self._begin_sync(self._tree.open(node), data_only, change=change)).answer(request)

    def sync_directory(self, request: Request) -> None:
        directory = self._tree.directory(request.node_id)
        self._recording.flush_time(directory)
        path = self._recording.path(directory)
        change = None if path is None else SyncDirectory(path)
        self._begin_sync(self._tree.open(directory), False, change=change).answer(request)

    def _begin_sync(self, fd: int, data_only: bool, *, change: Sync | SyncDirectory | None) -> Disks:
        """On the own disk and, where there is a change for it, on the peer's."""
        disks = Disks(1 if change is None else 2)

        def heard_here(error: int) -> None:
            if error:
                self._recorder.disk_failed(error)
            disks.heard(error)

        self._syncer.sync(fd, heard_here, data_only=data_only)
        if change is not None:
            try:
                self._recorder.synced(change, disks.heard)
            except Exception as error:
                end_process(STEP, error)
        return disks

    # Attributes

    def set_attributes(self, request: Request) -> None:
        fields = protocol.SETATTR_IN.unpack_from(request.body)
        valid = SetAttr(fields[0])
        node = self.named(request.node_id)
        if valid & SetAttr.SIZE:  # before the attributes, which are compared with the data where those are marked
            self._recording.touch_data(node, 0, -1)
        self._recording.touch_attributes(node)
        path = self._recording.path(node)
        place = self._recording.place(node)
        if valid & SetAttr.SIZE:
            self._resize(node, fields[2])
        with UNRECORDED:
            changes = self._resized(node, place, fields[2], valid) if valid & SetAttr.SIZE else []
            attributes, refusal = self._set(place, valid, fields)
            if refusal is None or changes or attributes:
                status = self._recording.status(node)
                if _may_clear_set_id(valid) and not stat.S_ISLNK(status.st_mode):
                    attributes["mode"] = stat.S_IMODE(status.st_mode)
                if "mtime_ns" in attributes:
                    self._recording.settle_time(node)
                if attributes and path is not None:
                    changes.append(SetAttributes(path, **attributes))
                if refusal is None:
                    self._finish(request, changes, self.attributes(status))
                else:
                    self._note(changes)
        if refusal is not None:
            raise refusal

    def _resize(self, node: Node, size: int) -> None:
        """Where it fails after the size has changed, as at the zeros behind the new end, the size is recorded."""
        fd = self._tree.open(node)
        before = os.fstat(fd).st_size
        self._expecting.changes(node)
        try:
            os.ftruncate(fd, size)
        except OSError:
            with UNRECORDED:
                found = os.fstat(fd).st_size
                if found != before and self._recording.is_recorded(node):
                    self._recording.defer_times(node)
                    self._recording.note(Resize(self._recording.slot(node), found))
            raise

    def _resized(self, node: Node, place: tuple[int, bytes], size: int, valid: SetAttr) -> list[Change]:
        if valid & SetAttr.KILL_SUIDGID:
            self._kill_set_id(node, place)
        if not self._recording.is_recorded(node):
            return []
        self._recording.defer_times(node)
        return [Resize(self._recording.slot(node), size)]

    def _set(
        self, place: tuple[int, bytes], valid: SetAttr, fields: tuple[int, ...]
    ) -> tuple[dict[str, int], OSError | None]:
        """Owner, mode and times, in the order that leaves what is asked for. What was set, and what the rest was
        refused with."""
        owner: dict[str, int] = {}
        done: dict[str, int] = {}
        if valid & SetAttr.UID:
            owner["uid"] = fields[12]
        if valid & SetAttr.GID:
            owner["gid"] = fields[13]
        try:
            if _may_clear_set_id(valid):
                local.set_owner(*place, owner.get("uid", -1), owner.get("gid", -1))
                done |= owner
            if valid & SetAttr.MODE:
                local.set_mode(*place, stat.S_IMODE(fields[10]))
                done["mode"] = stat.S_IMODE(fields[10])
            done |= self._set_times(place, valid, fields)
        except OSError as reason:
            return done, reason
        return done, None

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
        with UNRECORDED:
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
        with UNRECORDED:
            self._finish(request, [RemoveXattr(path, key)] if path is not None and local.is_replicated(key) else [])

    def _touched(self, request: Request) -> tuple[Node, tuple[int, bytes]]:
        node = self.named(request.node_id)
        self._recording.touch_attributes(node)
        return node, self._recording.place(node)


def _may_clear_set_id(valid: SetAttr) -> bool:
    """A change of owner: to the same one too, of which nothing is said then."""
    return bool(valid & (SetAttr.UID | SetAttr.GID)) or not valid & _SAID


def _coarse_now_ns() -> int:
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
