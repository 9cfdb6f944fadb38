"""Neighbour discovery for IPv6 (RFC 4861, RFC 4862): a solicitation as a probe, an unsolicited advertisement."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Final

ETHERTYPE: Final = 0x86DD
SOLICITATION, ADVERTISEMENT = 135, 136
_ICMPV6: Final = 58
_HOP_LIMIT: Final = 255
_OVERRIDE: Final = 0x2000_0000
_TARGET_LINK_ADDRESS: Final = 2
_ALL_NODES: Final = IPv6Address("ff02::1")
_UNSPECIFIED: Final = IPv6Address(0)


def _checksum(data: bytes) -> int:
    """RFC 1071. `data` has an even length."""
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _frame(mac: bytes, source: IPv6Address, destination: IPv6Address, message: bytes) -> bytes:
    pseudo = source.packed + destination.packed + struct.pack("!IxxxB", len(message), _ICMPV6)
    whole = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(whole), _ICMPV6, _HOP_LIMIT) + source.packed + destination.packed
    multicast_mac = b"\x33\x33" + destination.packed[-4:]
    return multicast_mac + mac + struct.pack("!H", ETHERTYPE) + header + whole


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group that every owner of the address listens to."""
    return IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + address.packed[13:])


def probe(mac: bytes, address: IPv6Address) -> bytes:
    """Who has the address? Asked from no address, as duplicate address detection does."""
    message = struct.pack("!BBHI", SOLICITATION, 0, 0, 0) + address.packed
    return _frame(mac, _UNSPECIFIED, solicited_node(address), message)


def announcements(mac: bytes, address: IPv6Address, card: bytes | None = None) -> tuple[bytes, ...]:
    """We have it: every neighbour replaces what it knew. `card` is the hardware address that sends, where it differs
    from the one that is told."""
    option = struct.pack("!BB", _TARGET_LINK_ADDRESS, 1) + mac
    message = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
    return (_frame(card or mac, address, _ALL_NODES, message),)


def claimant(message: bytes, address: IPv6Address) -> bytes | None:
    """The hardware address of who says in this ICMPv6 message that it has the address; empty when it does not tell."""
    if len(message) < 24 or message[0] != ADVERTISEMENT or message[8:24] != address.packed:
        return None
    options = message[24:]
    while len(options) >= 8 and options[1] > 0:
        if options[0] == _TARGET_LINK_ADDRESS:
            return options[2:8]
        options = options[8 * options[1] :]
    return b""
