"""One mounted directory for the data path's process: covered at first, and serving the real directory while primary."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import ParamSpec

from safekit_resource_rfs import syscalls, treestate
from safekit_resource_rfs.cover import NOTICE_NAME, Cover
from safekit_resource_rfs.exclusion import NOTHING, Exclusion
from safekit_resource_rfs.filesystem import Filesystem
from safekit_resource_rfs.fuse import mounting
from safekit_resource_rfs.fuse.protocol import MAX_WRITE_BYTES, ROOT_ID
from safekit_resource_rfs.fuse.session import Session
from safekit_resource_rfs.handover import MountState, TreeState
from safekit_resource_rfs.recorder import Recorder
from safekit_resource_rfs.tree import MAX_NODES, Tree

P = ParamSpec("P")


class Mount:
    """Made by `open`; all methods are for the thread of the event loop. The pool must not be shared with what can wait
    for this mount."""

    def __init__(
        self,
        directory: Path,
        root_fd: int,
        device_fd: int,
        pool: Executor,
        *,
        is_writeback: bool,
        exclusion: Exclusion,
        max_nodes: int,
        state: MountState | None = None,
    ) -> None:
        self.directory = directory
        self.root_fd = root_fd
        """The real directory, below the mount. Closed by `close`."""
        self._pool = pool
        self._exclusion = exclusion
        self._max_nodes = max_nodes
        self._is_writeback = is_writeback
        self._next_id = ROOT_ID + 1
        self._filesystem: Filesystem | None = None
        notice, notice_id = (treestate.raw(state.notice), state.notice_id) if state else (b"", self._take_id())
        self._cover = Cover(root_fd, notice, notice_id)
        minor = state.minor if state else 0
        self._session = Session(device_fd, self._cover.handlers, is_writeback=is_writeback, minor=minor)

    @classmethod
    def taken_over(
        cls,
        directory: Path,
        state: MountState,
        pool: Executor,
        *,
        is_writeback: bool,
        exclusion: Exclusion,
        max_nodes: int = MAX_NODES,
    ) -> Mount:
        """From the program that was here before; covered, until `serve_again`."""
        _allow_descriptors()
        mount = cls(
            directory,
            state.root_fd,
            state.device_fd,
            pool,
            is_writeback=is_writeback,
            exclusion=exclusion,
            max_nodes=max_nodes,
            state=state,
        )
        mount._next_id = state.next_id
        return mount

    def hold_back(self) -> None:
        """Requests stay with the kernel until `go_on`, or until another program reads them."""
        self._session.hold_back()

    def go_on(self) -> None:
        self._session.go_on()

    @property
    def pending(self) -> int:
        """Requests that wait for an answer."""
        return self._session.pending

    @property
    def state(self) -> MountState:
        cover, session = self._cover, self._session
        notice = treestate.text(cover.notice)
        return MountState(
            root_fd=self.root_fd,
            device_fd=session.device_fd,
            minor=session.minor,
            next_id=self._filesystem.next_id if self._filesystem else self._next_id,
            notice=notice,
            notice_id=cover.notice_id,
        )

    @property
    def tree_state(self) -> TreeState:
        """While it serves."""
        assert self._filesystem
        return self._filesystem.tree_state

    def serve_again(self, recorder: Recorder, state: TreeState) -> None:
        """What an earlier program served: the kernel knows the nodes already."""
        tree = treestate.give(self.root_fd, self._exclusion, self._max_nodes, state)
        self._filesystem = Filesystem(tree, recorder, self._pool, self._session, is_writeback=self._is_writeback)
        self._filesystem.recall_absent(state)
        self._session.handlers = self._filesystem.handlers

    @classmethod
    async def open(
        cls,
        directory: Path,
        notice: bytes,
        pool: Executor,
        *,
        is_writeback: bool = False,
        exclusion: Exclusion = NOTHING,
        max_nodes: int = MAX_NODES,
    ) -> Mount:
        """Detach what a killed data path left, and mount the cover. `notice` is the text of README.safekit."""
        await asyncio.get_running_loop().run_in_executor(pool, mounting.detach_dead, directory)
        _allow_descriptors()
        root_fd = mounting.open_directory(directory)
        try:
            syscalls.handle_of(root_fd)  # EOPNOTSUPP now and not at the first modification
            device_fd = mounting.mount(directory, "safekit-rfs")
        except BaseException:
            os.close(root_fd)
            raise
        mount = cls(
            directory, root_fd, device_fd, pool, is_writeback=is_writeback, exclusion=exclusion, max_nodes=max_nodes
        )
        mount._cover_with(notice)
        try:
            await mount._session.started
        except OSError:
            await mount.close(lazy=True)
            raise
        await mount._run(mounting.set_readahead, directory, MAX_WRITE_BYTES)
        return mount

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    async def serve(self, recorder: Recorder) -> None:
        """Show the real directory. The replica must not modify it from now on."""
        covered = self._cover.notice_id
        tree = Tree(self.root_fd, self._next_id, self._exclusion, self._max_nodes)
        self._filesystem = Filesystem(tree, recorder, self._pool, self._session, is_writeback=self._is_writeback)
        self._session.handlers = self._filesystem.handlers
        await self._run(self._forget, [(ROOT_ID, [NOTICE_NAME]), (covered, [])])

    async def cover(self, notice: bytes) -> None:
        """Hide the real directory: what is not answered yet answers EIO, files that are open answer ESTALE. The real
        directory is quiet as soon as this is called; it returns when the kernel has forgotten what it knew."""
        known = [(ROOT_ID, [NOTICE_NAME]), (self._cover.notice_id, [])]
        if self._filesystem:
            known += self._filesystem.known
            self._next_id = self._filesystem.next_id
            self._filesystem.close()
            self._filesystem = None
        self._cover_with(notice)
        self._session.refuse_pending(errno.EIO)
        await self._run(self._forget, known)

    def _cover_with(self, notice: bytes) -> None:
        self._cover = Cover(self.root_fd, notice, self._take_id())
        self._session.handlers = self._cover.handlers

    def _forget(self, known: list[tuple[int, list[bytes]]]) -> None:
        """Names first, and twice: an answer that was under way can have come in between."""
        for _ in range(2):
            for name in [name for node_id, names in known if node_id == ROOT_ID for name in names]:
                self._session.invalidate_entry(ROOT_ID, name)
            for node_id, _ in known:
                self._session.invalidate_inode(node_id)

    async def _run(self, call: Callable[P, object], *arguments: P.args, **_: P.kwargs) -> None:
        """What the kernel may answer only when this loop has answered it."""
        await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *arguments))

    def flush_times(self) -> None:
        """Record the times of modification that are due; those whose directories are to be marked first come later."""
        if self._filesystem:
            self._filesystem.flush_times()

    def record_times(self) -> None:
        """Those that are due, at once: before the marks of what they are of are cleared."""
        if self._filesystem:
            self._filesystem.record_times()

    @property
    def nodes(self) -> int:
        """How many files the kernel knows, for which memory is used."""
        return self._filesystem.nodes if self._filesystem else 0

    async def settle(self) -> None:
        """Before a planned `cover`, with the applications stopped: what the kernel still holds is written, and the
        times of modification that are due are recorded. It lasts as long as the recorder lets modifications wait."""
        if self._filesystem:
            await self._run(mounting.write_back, self.directory)
        if self._filesystem:
            await self._filesystem.settle_times()

    def forget_slots(self) -> None:
        """The peer's slots are gone (a new connection): bind anew before the next write."""
        if self._filesystem:
            self._filesystem.forget_slots()

    async def close(self, *, lazy: bool = False) -> None:
        """Unmount. OSError EBUSY when somebody uses it, unless lazy; nothing has changed then."""
        if not self.ended.done():
            await self._run(partial(mounting.unmount, self.directory, lazy=lazy))
        if self._filesystem:
            self._filesystem.close()
            self._filesystem = None
        self._session.close()
        if self.root_fd >= 0:
            os.close(self.root_fd)
            self.root_fd = -1

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the mount is gone, also when somebody else unmounted it."""
        return self._session.ended


def _allow_descriptors() -> None:
    """As many as the system allows: what is unlinked while open is kept open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
