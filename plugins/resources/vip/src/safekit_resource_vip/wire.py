"""The network card: sends the frames that claim an address, and hears who else claims it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Self

from safekit_resource_vip.links import Link
from safekit_sdk import arp, ndp

_ICMP6_FILTER: Final = 1
_BATCH: Final = 64
"""Frames that are looked at in one turn of the loop."""
Address = IPv4Address | IPv6Address


class Wire:
    """Open while one address is claimed or defended. OSError without the right to open packet sockets."""

    def __init__(self, link: Link, address: Address) -> None:
        self.link = link
        self.address = address
        self._sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._hearing: socket.socket | None = None
        self._claims: asyncio.Queue[bytes] = asyncio.Queue(maxsize=_BATCH)

    def __enter__(self) -> Self:
        protocol = ndp.ETHERTYPE if self.address.version == 6 else arp.ETHERTYPE
        try:
            self._sending.bind((self.link.name, 0))
            self._hearing = self._open_ear(protocol)
        except BaseException:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(self._hearing, self._heard, self._hearing)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._hearing is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._hearing)
            loop.run_in_executor(None, self._hearing.close)  # the kernel takes some 30 ms for it
            self._hearing = None
        self._sending.close()

    def _open_ear(self, protocol: int) -> socket.socket:
        if self.address.version == 4:
            # without a protocol until it is bound: to change it would cost the kernel's grace period, some 30 ms
            ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            ear.bind((self.link.name, protocol))
            return ear
        ear = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        blocked[ndp.ADVERTISEMENT >> 5] &= ~(1 << (ndp.ADVERTISEMENT & 31))
        ear.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.link.name.encode() + b"\x00")
        return ear

    def _heard(self, ear: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            for _ in range(_BATCH):
                mac = self._claimant(ear.recv(2048))
                if mac is not None and mac != self.link.mac and not self._claims.full():
                    self._claims.put_nowait(mac)

    def _claimant(self, packet: bytes) -> bytes | None:
        if isinstance(self.address, IPv4Address):
            return arp.claimant(packet, self.address)
        return ndp.claimant(packet, self.address)

    def _send(self, *frames: bytes) -> None:
        """What the card cannot take now is lost, like any packet may be; what follows is sent again."""
        with contextlib.suppress(BlockingIOError):
            for frame in frames:
                self._sending.send(frame)

    def ask(self) -> None:
        """Ask the network who has the address. OSError when the link is down."""
        if isinstance(self.address, IPv4Address):
            self._send(arp.probe(self.link.mac, self.address))
        else:
            self._send(ndp.probe(self.link.mac, self.address))

    def announce(self) -> None:
        """Tell the network that this card has the address. OSError when the link is down."""
        if isinstance(self.address, IPv4Address):
            self._send(*arp.announcements(self.link.mac, self.address))
        else:
            self._send(*ndp.announcements(self.link.mac, self.address))

    async def claim(self, patience_s: float) -> bytes | None:
        """The hardware address of another machine that claims the address, the first heard within this time."""
        try:
            return await asyncio.wait_for(self._claims.get(), patience_s)
        except TimeoutError:
            return None
