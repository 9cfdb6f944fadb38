"""Rings when anyone has changed the kernel's rules."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Self

_NETLINK_NETFILTER: Final = 12
_GROUP_NFTABLES: Final = 7
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
SETTLE_S: Final = 0.005
"""Changes that come one after the other are looked at together."""


class Changes:
    def __init__(self) -> None:
        self._changed = asyncio.Event()
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)

    def __enter__(self) -> Self:
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
        except BaseException:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._rang)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _rang(self) -> None:
        """What changed is looked up; so a queue that overflowed loses nothing."""
        self._changed.set()
        with contextlib.suppress(OSError):
            for _ in range(256):
                self._socket.recv(65536)

    async def wait(self, at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), at_most_s)
            await asyncio.sleep(SETTLE_S)
        self._changed.clear()
