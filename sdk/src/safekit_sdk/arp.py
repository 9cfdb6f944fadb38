"""ARP packets for IPv4 over Ethernet (RFC 826), as probes and announcements (RFC 5227)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Final

ETHERTYPE: Final = 0x0806
BROADCAST: Final = b"\xff" * 6
_NOBODY: Final = b"\x00" * 6
_REQUEST, _REPLY = 1, 2
_FIXED: Final = struct.pack("!HHBB", 1, 0x0800, 6, 4)


def _frame(
    operation: int, mac: bytes, sender: IPv4Address, target_mac: bytes, target: IPv4Address, card: bytes | None = None
) -> bytes:
    ethernet = BROADCAST + (card or mac) + struct.pack("!H", ETHERTYPE)
    packet = _FIXED + struct.pack("!H", operation) + mac + sender.packed + target_mac + target.packed
    return (ethernet + packet).ljust(60, b"\x00")


def probe(mac: bytes, address: IPv4Address) -> bytes:
    """Who has the address? Asked without saying that we do."""
    return _frame(_REQUEST, mac, IPv4Address(0), _NOBODY, address)


def announcements(mac: bytes, address: IPv4Address, card: bytes | None = None) -> tuple[bytes, ...]:
    """We have it: once as a request and once as a reply, as some machines heed only one of them. `card` is the
    hardware address that sends, where it differs from the one that is told."""
    return (
        _frame(_REQUEST, mac, address, _NOBODY, address, card),
        _frame(_REPLY, mac, address, BROADCAST, address, card),
    )


def claimant(frame: bytes, address: IPv4Address) -> bytes | None:
    """The hardware address of who says in this frame that it has the address."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETHERTYPE) or frame[14:20] != _FIXED:
        return None
    mac, sender = frame[22:28], frame[28:32]
    return mac if sender == address.packed else None
