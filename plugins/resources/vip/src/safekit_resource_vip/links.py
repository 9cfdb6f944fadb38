"""The machine's interfaces and addresses, through netlink."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from safekit_sdk.netlink import Changes

Interface = IPv4Interface | IPv6Interface
_LOOPBACK, _LOWER_UP = 0x8, 0x10000
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_FOR_EVER: Final = 0xFFFFFFFF
_GROUPS: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    mac: bytes
    loopback: bool
    carrier: bool
    """Administratively up, and with a link."""
    addresses: tuple[Interface, ...]

    def has(self, address: IPv4Address | IPv6Address) -> bool:
        return any(own.ip == address for own in self.addresses)

    def covers(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether it has another address whose network contains this one."""
        return any(
            own.version == address.version and own.ip != address and address in own.network for own in self.addresses
        )


async def links() -> tuple[Link, ...]:
    """Every interface with its addresses, as the kernel has them now."""
    async with AsyncIPRoute() as netlink:
        found: dict[int, list[Interface]] = {}
        async for message in await netlink.addr("dump"):
            text = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
            if text is not None:
                found.setdefault(message["index"], []).append(ip_interface(f"{text}/{message['prefixlen']}"))
        return tuple(
            [
                Link(
                    index=message["index"],
                    name=message.get("IFLA_IFNAME"),
                    mac=bytes.fromhex((message.get("IFLA_ADDRESS") or "").replace(":", "")),
                    loopback=bool(message["flags"] & _LOOPBACK),
                    carrier=bool(message["flags"] & _LOWER_UP),
                    addresses=tuple(found.get(message["index"], ())),
                )
                async for message in await netlink.link("dump")
            ]
        )


async def add(link: Link, address: Interface) -> None:
    """Put the address on the interface; nothing when it is there. OSError when the kernel refuses.

    An IPv6 address is used at once (it was probed), makes no route of its own, and is never the source of what this
    machine sends by itself."""
    extra: dict[str, object] = {}
    if address.version == 6:
        extra = {"IFA_FLAGS": _NODAD | _NOPREFIXROUTE, "preferred": 0, "valid": _FOR_EVER}
    with _told_as_oserror(errno.EEXIST):
        async with AsyncIPRoute() as netlink:
            await netlink.addr("add", index=link.index, address=str(address.ip), prefixlen=_prefix(address), **extra)


async def remove(link: Link, address: Interface) -> None:
    """Take it off the interface; nothing when it is not there. OSError when the kernel refuses."""
    with _told_as_oserror(errno.EADDRNOTAVAIL, errno.ENODEV):
        async with AsyncIPRoute() as netlink:
            await netlink.addr("del", index=link.index, address=str(address.ip), prefixlen=_prefix(address))


def _prefix(address: Interface) -> int:
    return address.network.prefixlen


@contextmanager
def _told_as_oserror(*harmless: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in harmless:
            raise OSError(error.code, f"the kernel refused it: {error}") from None


def changes() -> Changes:
    """Rings whenever an interface or an address of the machine has changed."""
    return Changes(socket.NETLINK_ROUTE, _GROUPS)
