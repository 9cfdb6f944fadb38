"""What the recorder is told: marks before a modification, slots for files that are written, times a little later."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from safekit_resource_rfs import local, syscalls
from safekit_resource_rfs.changes import MAX_PATH_BYTES, SLOTS, Bind, Change, Rename, SetAttributes, Unbind
from safekit_resource_rfs.defects import STEP, end_process
from safekit_resource_rfs.fuse.session import Request, Wait
from safekit_resource_rfs.marks import ATTRIBUTES, GONE, LOST, WHOLE, ZONE_BYTES, Place
from safekit_resource_rfs.recorder import Recorder
from safekit_resource_rfs.tree import Directory, Node, Tree

TIMES_DELAY_S: Final = 0.1
"""Until the time of the last modification is recorded."""
_MAX_SEARCHES: Final = 3
_MAX_ROUNDS: Final = 100
_MAX_ZONES: Final = 64
_LAST_ZONE: Final = (1 << 31) - 1
"""Further zones have no number in the log."""
"""Of one modification that are marked one by one."""


class Recording:
    """Of one serving file system. Nothing is recorded of nodes without a name."""

    def __init__(self, tree: Tree, recorder: Recorder) -> None:
        self._tree = tree
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._slots: dict[Node, None] = {}
        """Nodes with a slot, oldest first."""
        self._free = list(range(SLOTS - 1, 0, -1))
        self._dirty: dict[Node, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[asyncio.Future[None], Node] = {}
        """Nodes with times that are due, by what their marks are waited for with."""

    # Before

    def touch(self, *places: Place) -> None:
        """Raises Wait when the request is to be done again, or OSError when nothing may be modified."""
        try:
            waiting = self._recorder.touch(*places)
        except OSError:
            raise
        except Exception as error:
            end_process(STEP, error)
        if waiting is not None:
            raise Wait(waiting)

    def touch_entries(self, *directories: Directory) -> None:
        self.touch(*[self._place(directory) for directory in directories if not directory.is_excluded])

    def touch_removal(self, parent: Directory, name: bytes) -> None:
        """Before a name goes."""
        if not parent.is_excluded:
            self.touch(self._place(parent), *self._places_of_loss(parent, name))

    def touch_names(self, moved: Sequence[Node | None], old: Directory, new: Directory, lost: bytes = b"") -> None:
        """Before nodes get names in other directories: all of each is marked in both. `lost`: a name in the new one
        that may be replaced."""
        both = [directory for directory in dict.fromkeys((old, new)) if not directory.is_excluded]
        places = [self._place(directory) for directory in both]
        for node in moved:
            if node is None or node.is_excluded:
                continue
            if isinstance(node, Directory):
                places.append(Place(self._handle(node), 0, WHOLE))
            else:
                places += [Place(self._handle(directory), node.inode, WHOLE) for directory in both]
        if lost and not new.is_excluded:
            places += self._places_of_loss(new, lost)
        self.touch(*places)

    def _places_of_loss(self, parent: Directory, name: bytes) -> list[Place]:
        """What is marked when this name goes; nothing when there is none."""
        node, parent_fd = parent.children.get(name), self._tree.open(parent)
        if node is not None and node.is_excluded:
            return []
        if isinstance(node, Directory):
            return [self._place(node)]
        try:
            status = local.status(parent_fd, name)
        except FileNotFoundError:
            return []
        if stat.S_ISDIR(status.st_mode):
            return [Place(syscalls.handle_of(parent_fd, name))]
        return [Place(self._handle(parent), status.st_ino, LOST if status.st_nlink > 1 else GONE)]

    def touch_attributes(self, node: Node) -> None:
        """Those of the node itself: they stand in the directory that has it, the root's in the root. Of a file with
        other names all is marked: when this name goes, they are found by those."""
        directory = node.parent or (node if isinstance(node, Directory) else None)
        if directory is None or node.is_excluded:
            return
        if isinstance(node, Directory):
            self.touch(self._place(directory))
        else:
            zone = WHOLE if self.status(node).st_nlink > 1 else ATTRIBUTES
            self.touch(Place(self._handle(directory), node.inode, zone))

    def touch_data(self, node: Node, offset: int, length: int) -> None:
        """A negative length: to the end of whatever is there."""
        if node.parent is None or node.is_excluded:
            return
        handle = self._handle(node.parent)
        first, last = offset // ZONE_BYTES, (offset + max(length, 1) - 1) // ZONE_BYTES
        if length < 0 or last - first >= _MAX_ZONES or last > _LAST_ZONE:
            self.touch(Place(handle, node.inode, WHOLE))
        elif first == last:
            self.touch(Place(handle, node.inode, first))
        else:
            self.touch(*[Place(handle, node.inode, zone) for zone in range(first, last + 1)])

    def _place(self, directory: Directory) -> Place:
        return Place(self._handle(directory))

    def _handle(self, directory: Directory) -> bytes:
        """By its name, which needs no descriptor of its own: of one that was just made, it would fail too late."""
        if not directory.handle and directory.parent is not None:
            directory.handle = syscalls.handle_of(self._tree.open(directory.parent), directory.name)
        elif not directory.handle:
            directory.handle = syscalls.handle_of(self._tree.open(directory))
        return directory.handle

    def path(self, node: Node) -> bytes | None:
        """None: nothing is recorded of it. OSError ENAMETOOLONG when it has become longer than a change can say."""
        return None if node.is_excluded else self._limited(self._tree.path(node))

    def path_in(self, directory: Directory, name: bytes) -> bytes:
        parent = self._tree.path(directory)
        if parent is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        path = parent + b"/" + name if parent else name
        self._limited(path)
        return path

    @staticmethod
    def _limited(path: bytes | None) -> bytes | None:
        if path is not None and len(path) > MAX_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return path

    # After

    @staticmethod
    def is_recorded(node: Node) -> bool:
        return node.parent is not None and not node.is_excluded

    def note(self, change: Change) -> None:
        """A change that is not the last of its request."""
        self._recorder.record(change, None)

    def finish(self, request: Request, change: Change, payload: bytes = b"") -> None:
        """The last change: the request is answered when the recorder says so."""
        if self._drops(change) or self._recorder.record(change, partial(request.reply, payload)):
            request.reply(payload)
        else:
            request.hold()

    def _drops(self, change: Change) -> bool:
        """Whether its name is not replicated. Of nodes that are not, nothing else is told."""
        if not self._tree.exclusion:
            return False
        path = change.old if isinstance(change, Rename) else getattr(change, "path", b"")
        return self._tree.exclusion.holds(path)

    def cover(self, node: Node) -> None:
        """It was just made."""
        if node.is_excluded:
            return
        if isinstance(node, Directory):
            self._recorder.cover(self._place(node))
        elif node.is_regular and node.parent is not None:
            self._recorder.cover(Place(self._handle(node.parent), node.inode, WHOLE))

    # Slots

    def slot(self, node: Node) -> int:
        """Bind one if the file has none. The path is known to be short enough."""
        if node.slot:
            node.is_recent = True
            return node.slot
        path = self._tree.path(node)
        assert path is not None
        slot = self.take_slot(node)
        self.note(Bind(slot, path))
        return slot

    def take_slot(self, node: Node) -> int:
        """For a change that binds it itself."""
        if not self._free:
            self._evict()
        node.slot = self._free.pop()
        self._slots[node] = None
        return node.slot

    def _evict(self) -> None:
        node = next(iter(self._slots))
        del self._slots[node]
        self._free.append(node.slot)
        node.slot = 0

    def release(self, node: Node) -> None:
        if node.slot:
            self.note(Unbind(node.slot))
            del self._slots[node]
            self._free.append(node.slot)
            node.slot = 0

    def forget_slots(self) -> None:
        while self._slots:
            self._evict()

    # Times

    def defer_times(self, *nodes: Node) -> None:
        """Their times of modification have changed: record them soon."""
        for node in nodes:
            if not node.is_dirty:
                node.is_dirty = True
                self._dirty[node] = None
        if self._timer is None and self._dirty:
            self._timer = self._loop.call_later(TIMES_DELAY_S, self.flush_times)

    def flush_times(self) -> None:
        """All that are due."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for node in list(self._dirty):
            self.flush_time(node)

    def record_times(self) -> None:
        """All that are due, without marking anything: what they are of is marked still."""
        for node in dict.fromkeys((*self._waiting.values(), *self._dirty)):
            self.settle_time(node)
            with contextlib.suppress(OSError):
                self._note_time(node)
            if self._tree.is_unused(node):
                self.drop(node)

    async def settle_times(self) -> None:
        """All that are due are recorded then, or refused."""
        for _ in range(_MAX_ROUNDS):
            self.flush_times()
            if not self._waiting:
                return
            await asyncio.wait(self._waiting)

    def settle_time(self, node: Node) -> None:
        """Its time is recorded by other means."""
        if node.is_dirty:
            node.is_dirty = False
            del self._dirty[node]

    def flush_time(self, node: Node) -> None:
        if not node.is_dirty:
            return
        self.settle_time(node)
        try:
            self._record_time(node)
        except Wait as wait:
            future = asyncio.ensure_future(wait.awaitable)
            self._waiting[future] = node
            future.add_done_callback(partial(self._again, node))
        except OSError:
            pass  # the replication is broken off; the marks lead to the difference
        if self._tree.is_unused(node):
            self.drop(node)

    def _again(self, node: Node, waited: asyncio.Future[None]) -> None:
        self._waiting.pop(waited, None)
        if not waited.cancelled() and waited.exception() is None and node.id in self._tree.nodes:
            self.defer_times(node)

    def _record_time(self, node: Node) -> None:
        if node.parent is not None or node is self._tree.root:
            self.touch_attributes(node)
        self._note_time(node)

    def _note_time(self, node: Node) -> None:
        path = self._tree.path(node)
        if path is None or len(path) > MAX_PATH_BYTES or node.is_excluded:
            return
        self.note(SetAttributes(path, mtime_ns=self.status(node).st_mtime_ns))

    # Nodes

    def status(self, node: Node) -> os.stat_result:
        if node.fd >= 0:
            return os.fstat(node.fd)
        return local.status(*self.place(node))

    def place(self, node: Node) -> tuple[int, bytes]:
        """The directory's descriptor and the name, or the node's own descriptor and no name."""
        if node.parent is not None:
            return self._tree.open(node.parent), node.name
        if node.fd < 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node.fd, b""

    def drop(self, node: Node) -> None:
        """It is unused."""
        for gone in self._tree.drop(node):
            self.release(gone)

    def find_name(self, node: Node, pool: Executor) -> None:
        """Raise Wait for a search through the whole directory, for a file whose known names are gone while it has
        others: it was open when they were removed, and is now modified."""
        raise Wait(self._search(node, pool))

    async def _search(self, node: Node, pool: Executor) -> None:
        for _ in range(_MAX_SEARCHES):
            path = await self._loop.run_in_executor(pool, find_inode, self._tree.root.fd, node.inode)
            if not node.is_astray or os.fstat(node.fd).st_nlink == 0:
                node.is_astray = False
                return
            if path is not None and self._learn(node, path.split(b"/")):
                return
        raise OSError(errno.EIO, "a file's other names are not found")

    def _learn(self, node: Node, names: list[bytes]) -> bool:
        """Give the node the name that was found, if it still stands there."""
        directory = self._tree.root
        for name in names:
            try:
                status = local.status(self._tree.open(directory), name)
            except OSError:
                return False
            found = self._tree.look_up(directory, name, status)
            found.lookups -= 1  # the kernel knows nothing of this
            if isinstance(found, Directory):
                directory = found
        if found is node:
            self._tree.unpin(node)
        return found is node

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        for future in list(self._waiting):
            future.cancel()
        self._dirty.clear()


def find_inode(root_fd: int, inode: int) -> bytes | None:
    """A path of the file beneath the root; for the pool."""
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(b"/proc/self/fd/%d/%s" % (root_fd, path)) as entries:
                for entry in entries:
                    below = path + b"/" + entry.name if path else entry.name
                    if entry.inode() == inode:
                        return below
                    if entry.is_dir(follow_symlinks=False) and below != local.RESERVED:
                        waiting.append(below)
        except OSError:
            continue  # gone meanwhile
    return None
