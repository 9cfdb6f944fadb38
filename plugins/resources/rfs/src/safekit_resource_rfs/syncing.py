"""Files are brought to the disk while the loop goes on."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import count

from safekit_resource_rfs import turns
from safekit_resource_rfs.aio import Aio

Then = Callable[[int], None]
"""Is told 0 or the errno, on the thread of the loop."""


class Syncer:
    """By the kernel where it can, else in the pool."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._turns = turns.running()
        self._numbers = count()
        self._waiting: dict[int, Then] = {}
        """Of what the kernel does."""
        self._is_closing = False
        self._aio: Aio | None = None
        try:
            self._aio = Aio()
        except OSError:
            return
        self._turns.watch(self._aio.fd, self._collect, is_edge=True)

    def sync(self, fd: int, then: Then, *, data_only: bool) -> None:
        """The descriptor may be closed as soon as this returns."""
        if self._aio is not None:
            number = next(self._numbers)
            try:
                self._aio.sync(number, fd, data_only=data_only)
            except OSError:
                pass  # it has too many, or cannot do this file
            else:
                self._waiting[number] = then
                return
        self._pool.submit(self._sync, os.dup(fd), then, data_only)

    def _sync(self, fd: int, then: Then, data_only: bool) -> None:
        number = 0
        try:
            (os.fdatasync if data_only else os.fsync)(fd)
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            os.close(fd)
        self._loop.call_soon_threadsafe(then, number)

    def _collect(self) -> None:
        assert self._aio
        ended = [(self._waiting.pop(number), error) for number, error in self._aio.ended()]
        self._leave()
        for then, error in ended:
            then(error)

    def close(self) -> None:
        """What is under way is told still."""
        self._is_closing = True
        self._leave()

    def _leave(self) -> None:
        if self._is_closing and self._aio and not self._waiting:
            aio, self._aio = self._aio, None
            self._turns.unwatch(aio.fd)
            aio.close()
