"""The data of a record as text, the way `dig +short` writes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from safekit_checker_dns.names import GarbageError, decode

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
_NUMBERS_BEFORE_NAME = {"NS": "!", "CNAME": "!", "PTR": "!", "MX": "!H", "SRV": "!HHH"}


def rdata_text(kind: str, message: bytes, offset: int, size: int) -> str:
    """GarbageError when the data are not of the kind."""
    data = message[offset : offset + size]
    if kind in ("A", "AAAA"):
        return _address(kind, data)
    if kind == "TXT":
        return "".join(_strings(data))
    if kind == "SOA":
        return _authority(message, offset, offset + size)
    numbers = struct.Struct(_NUMBERS_BEFORE_NAME[kind])
    if numbers.size > size:
        raise GarbageError(f"a record of type {kind} is too short")
    name, after = decode(message, offset + numbers.size)
    _must_end(kind, after, offset + size)
    return " ".join([*map(str, numbers.unpack_from(message, offset)), name])


def _address(kind: str, data: bytes) -> str:
    if len(data) != (4 if kind == "A" else 16):
        raise GarbageError(f"an address in it has {len(data)} bytes")
    return str(IPv4Address(data) if kind == "A" else IPv6Address(data))


def _strings(data: bytes) -> Iterator[str]:
    while data:
        size = data[0]
        if size >= len(data):
            raise GarbageError("a text in it does not end")
        yield "".join(chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03}" for b in data[1 : 1 + size])
        data = data[1 + size :]


def _authority(message: bytes, offset: int, end: int) -> str:
    server, offset = decode(message, offset)
    mailbox, offset = decode(message, offset)
    _must_end("SOA", offset + 20, end)
    return " ".join([server, mailbox, *map(str, struct.unpack_from("!IIIII", message, offset))])


def _must_end(kind: str, after: int, end: int) -> None:
    if after != end:
        raise GarbageError(f"a record of type {kind} does not end where it says")
