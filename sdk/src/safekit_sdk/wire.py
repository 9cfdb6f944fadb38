"""A network card: asks who has an address, hears who says so, and says so itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Self

from safekit_sdk import arp, ndp

Address = IPv4Address | IPv6Address

_ICMP6_FILTER: Final = 1
_BATCH: Final = 64
"""Packets that are looked at in one turn of the loop."""
_CLAIMS_MAX: Final = 64
_HOP_LIMIT: Final = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
_ON_THIS_WIRE: Final = struct.pack("=i", 255)
_HOPS_BYTES: Final = socket.CMSG_SPACE(len(_ON_THIS_WIRE))


class Wire:
    """Open on one interface until closed. OSError without the right to packet sockets, or when the interface goes."""

    def __init__(self, interface: str, mac: bytes, address: Address) -> None:
        self.interface = interface
        self.mac = mac
        self._address = address
        self._claims: asyncio.Queue[bytes] = asyncio.Queue(_CLAIMS_MAX)
        self._sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self._sending.bind((interface, 0))
            self._hearing = self._open_ear()
        except BaseException:
            self._sending.close()
            raise
        asyncio.get_running_loop().add_reader(self._hearing, self._heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_ear(self) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        if isinstance(self._address, IPv4Address):
            # without a protocol until it is bound: to change it would cost the kernel's grace period, some 30 ms
            ear = socket.socket(socket.AF_PACKET, kind, 0)
        else:
            ear = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
        try:
            self._tune(ear)
        except BaseException:
            ear.close()
            raise
        return ear

    def _tune(self, ear: socket.socket) -> None:
        if isinstance(self._address, IPv4Address):
            ear.bind((self.interface, arp.ETHERTYPE))
            return
        blocked = [0xFFFFFFFF] * 8
        blocked[ndp.ADVERTISEMENT >> 5] &= ~(1 << (ndp.ADVERTISEMENT & 31))
        ear.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode() + b"\0")

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._hearing)
        loop.run_in_executor(None, self._hearing.close)  # the kernel takes some 30 ms for it
        self._sending.close()

    def _heard(self) -> None:
        with contextlib.suppress(OSError):
            for _ in range(_BATCH):
                packet, ancillary, _, _ = self._hearing.recvmsg(2048, _HOPS_BYTES)
                mac = self._claimant(packet, ancillary)
                if mac is not None and not self._claims.full():
                    self._claims.put_nowait(mac)

    def _claimant(self, packet: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
        """A router lowers the hop limit: what has the highest was sent on this wire (RFC 4861, 7.1.2)."""
        if isinstance(self._address, IPv4Address):
            return arp.claimant(packet, self._address)
        hops = [data for level, kind, data in ancillary if (level, kind) == _HOP_LIMIT]
        return ndp.claimant(packet, self._address) if hops == [_ON_THIS_WIRE] else None

    def ask(self) -> None:
        """Whoever has the address answers. OSError when the interface is down; what it cannot take now is lost."""
        address, mac = self._address, self.mac
        self._send(arp.probe(mac, address) if isinstance(address, IPv4Address) else ndp.probe(mac, address))

    def announce(self) -> None:
        """Tell the network that this card has the address. OSError and loss as of `ask`."""
        if isinstance(self._address, IPv4Address):
            self._send(*arp.announcements(self.mac, self._address))
        else:
            self._send(*ndp.announcements(self.mac, self._address))

    def _send(self, *frames: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            for frame in frames:
                self._sending.send(frame)

    def forget(self) -> None:
        """What was heard until now."""
        while not self._claims.empty():
            self._claims.get_nowait()

    async def claim(self, patience_s: float, own: frozenset[bytes] = frozenset()) -> bytes | None:
        """The hardware address of another machine that says it has the address, the first heard within this time;
        empty when it does not tell it. This card is not another machine, nor are those of `own`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while True:
                    mac = await self._claims.get()
                    if mac != self.mac and mac not in own:
                        return mac
        return None


def may_ask() -> bool:
    """Whether this process has the right to packet sockets."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return False
    return True
