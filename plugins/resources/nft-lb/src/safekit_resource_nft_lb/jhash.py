"""The kernel's jhash (Bob Jenkins, lookup3) as nftables' `jhash … mod 256 seed …` has it, to tell a client's bucket.

As nft_hash(8) does it on a little-endian machine: 32-bit registers as they are in memory, and the upper bits of the
hash scaled to the number of buckets.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

BUCKETS: Final = 256
_GOLDEN: Final = 0xDEADBEEF
_MASK: Final = 0xFFFFFFFF


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & _MASK


def jhash(data: bytes, seed: int) -> int:
    """The 32-bit hash of a key whose length is a multiple of 4."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    a = b = c = (_GOLDEN + len(data) + seed) & _MASK
    while len(words) > 3:
        a, b, c = _mixed((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)
        words = words[3:]
    last = (*words, 0, 0, 0)[:3]
    return _final((a + last[0]) & _MASK, (b + last[1]) & _MASK, (c + last[2]) & _MASK) if words else c


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a = (a - c & _MASK) ^ _rotated(c, by)
        c = c + b & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotated(b, by) & _MASK
        a, b, c = b, c, a
    return b


def bucket(client: IPv4Address | IPv6Address, seed: int, port: int | None = None) -> int:
    """The bucket of a client, or of its connection from a port."""
    key = client.packed + (b"" if port is None else struct.pack("!Hxx", port))
    return jhash(key, seed) * BUCKETS >> 32
