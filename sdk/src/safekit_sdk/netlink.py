"""Rings when the kernel tells that something of the machine has changed: interfaces, addresses, filter rules."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Self

_AT_ONCE: Final = 1000
"""Messages read before other tasks have their turn."""


class Changes:
    """A subscription at netlink, for the time of a `with`. What changed is to be looked at: then nothing is lost when
    more changes come than the socket can hold."""

    def __init__(self, protocol: int, groups: int, settle_s: float = 0.0) -> None:
        """`protocol` as `socket.NETLINK_ROUTE`; `groups` is a mask of the groups 1 to 32 of netlink(7), group 1 is bit
        0. Changes within `settle_s` after the first ring once. OSError when the kernel has no such protocol."""
        self._groups = groups
        self._settle_s = settle_s
        self._changed = asyncio.Event()
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)

    def __enter__(self) -> Self:
        try:
            self._socket.bind((0, self._groups))
        except BaseException:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._rang)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _rang(self) -> None:
        self._changed.set()
        with contextlib.suppress(OSError):  # nothing more to read, or ENOBUFS: more than fitted; it rings all the same
            for _ in range(_AT_ONCE):
                self._socket.recv(65536)

    async def wait(self, at_most_s: float) -> bool:
        """Until something has changed since the last wait, for `at_most_s` at the longest. False when nothing has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):  # wait_for loses a cancellation in Python 3.11
                await self._changed.wait()
            await asyncio.sleep(self._settle_s)
        changed = self._changed.is_set()
        self._changed.clear()
        return changed
