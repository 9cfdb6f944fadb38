"""One mounted directory for the data path's process: covered at first, and serving the real directory while primary."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from pathlib import Path

from safekit_resource_rfs.cover import Cover
from safekit_resource_rfs.filesystem import Filesystem
from safekit_resource_rfs.fuse import mounting
from safekit_resource_rfs.fuse.session import Session
from safekit_resource_rfs.recorder import Recorder


class Mount:
    """Made by `open`; all methods are for the thread of the event loop."""

    def __init__(self, directory: Path, root_fd: int, session: Session, pool: Executor) -> None:
        self.directory = directory
        self.root_fd = root_fd
        """The real directory, below the mount. Closed by `close`."""
        self._session = session
        self._pool = pool
        self._filesystem: Filesystem | None = None

    @classmethod
    async def open(cls, directory: Path, notice: bytes, pool: Executor, *, is_writeback: bool = False) -> Mount:
        """Detach what a killed data path left, and mount the cover. `notice` is the text of README.safekit."""

    async def serve(self, recorder: Recorder) -> None:
        """Show the real directory. The replica must not modify it from now on."""

    async def cover(self, notice: bytes) -> None:
        """Hide the real directory: what is not answered yet answers EIO, files that are open answer ESTALE. The real
        directory is quiet as soon as this is called; it returns when the kernel has forgotten what it knew."""

    def forget_slots(self) -> None:
        """The peer's slots are gone (a new connection): bind anew before the next write."""

    async def close(self, *, lazy: bool = False) -> None:
        """Unmount. OSError EBUSY when somebody uses it, unless lazy; nothing has changed then."""

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the mount is gone, also when somebody else unmounted it."""
        return self._session.ended
