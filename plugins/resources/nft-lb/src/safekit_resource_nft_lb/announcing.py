"""Tells the network which hardware address the virtual addresses have."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address

from safekit_resource_nft_lb.site import Site
from safekit_sdk import arp, ndp


def announce(site: Site, mac: str) -> None:
    """Once for each address. Without a link nobody hears it; it is announced again."""
    told, card = _bytes(mac), _bytes(site.place.mac)
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as wire,
    ):
        wire.bind((site.place.interface, 0))
        for address in site.config.addresses:
            if isinstance(address, IPv4Address):
                frames = arp.announcements(told, address, card)
            else:
                frames = ndp.announcements(told, address, card)
            for frame in frames:
                wire.send(frame)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
