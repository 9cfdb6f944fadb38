"""An answer that waits for two disks at a time."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

from safekit_resource_rfs.fuse.session import Request


class Disks:
    """Answers when all have it, or at the first error. What comes from two threads is counted by a list, whose pop is
    atomic."""

    __slots__ = ("_failed", "_request", "_waiting")

    def __init__(self, request: Request, count: int) -> None:
        self._request = request
        self._waiting = list(range(count))
        self._failed = False

    def wait(self, call: Callable[[int], None], fd: int) -> None:
        """For the pool: the own disk. The descriptor is closed."""
        try:
            call(fd)
        except OSError as error:
            self._fail(error.errno or errno.EIO)
        else:
            self._succeed()
        finally:
            os.close(fd)

    def heard(self, peer: asyncio.Future[None]) -> None:
        """The other's, on the thread of the loop."""
        if peer.cancelled():
            self._fail(errno.EIO)
        elif (error := peer.exception()) is not None:
            self._fail((isinstance(error, OSError) and error.errno) or errno.EIO)
        else:
            self._succeed()

    def _succeed(self) -> None:
        if self._waiting.pop() == 0 and not self._failed:
            self._request.reply()

    def _fail(self, number: int) -> None:
        self._failed = True
        self._waiting.pop()
        self._request.fail(number)
