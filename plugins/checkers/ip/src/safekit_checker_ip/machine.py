"""The machine's interfaces and addresses, through netlink."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from safekit_sdk.netlink import Changes

Address = IPv4Address | IPv6Address
_UP, _LOOPBACK, _NO_ARP, _LOWER_UP = 0x1, 0x8, 0x80, 0x10000
_DUPLICATE, _TENTATIVE = 0x08, 0x40
"""IFA_F_DADFAILED, IFA_F_TENTATIVE."""
_GROUPS: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    mac: bytes
    flags: int

    @property
    def up(self) -> bool:
        return bool(self.flags & _UP)

    @property
    def can_ask(self) -> bool:
        """Whether there is a network behind it now whose machines have hardware addresses."""
        return bool(self.flags & _LOWER_UP) and not self.flags & (_LOOPBACK | _NO_ARP) and len(self.mac) == 6


@dataclass(frozen=True, slots=True)
class Holding:
    """An interface that has the address."""

    link: Link
    duplicate: bool
    """The kernel found another machine with it, and does not use it."""
    tentative: bool
    """The kernel still asks the network, and does not use it yet."""


@dataclass(frozen=True, slots=True)
class Machine:
    links: tuple[Link, ...]
    holdings: tuple[Holding, ...]

    @property
    def macs(self) -> frozenset[bytes]:
        """Whoever answers with one of these is this machine: it may have several interfaces on one wire."""
        return frozenset(link.mac for link in self.links)


async def look(address: Address) -> Machine:
    """As the kernel has it now. OSError when it does not tell."""
    try:
        async with AsyncIPRoute() as netlink:
            found = [message async for message in await netlink.addr("dump") if _address(message) == address]
            links = {message["index"]: _link(message) async for message in await netlink.link("dump")}
    except NetlinkError as error:
        raise OSError(error.code, f"the kernel does not tell: {error}") from None
    holdings = [_holding(links[message["index"]], message) for message in found if message["index"] in links]
    return Machine(tuple(links.values()), tuple(holdings))


def _address(message: Any) -> Address | None:
    text = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
    return ip_address(text) if text else None


def _link(message: Any) -> Link:
    mac = bytes.fromhex((message.get("IFLA_ADDRESS") or "").replace(":", ""))
    return Link(message["index"], message.get("IFLA_IFNAME"), mac, message["flags"])


def _holding(link: Link, message: Any) -> Holding:
    flags = message.get("IFA_FLAGS") or message["flags"]
    return Holding(link, bool(flags & _DUPLICATE), bool(flags & _TENTATIVE))


def changes() -> Changes:
    """Rings whenever an interface or an address of the machine has changed."""
    return Changes(socket.NETLINK_ROUTE, _GROUPS)
