"""The one line that a node needs to reach a witness: where it is, its public key, and the secret key of the cluster."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from safekit_sdk import ConfigError

_LAYOUT: Final = struct.Struct("!16sH40s40s")
_PREFIX: Final = "skw1-"
"""Names the form; tokens of another one begin differently."""
MAX_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Token:
    """`skw1-`, then in base64: IPv6 or mapped IPv4 address, port, the witness's public key, the secret key, CRC-32."""

    address: str
    port: int
    server_key: str
    secret_key: str = field(repr=False)

    def __str__(self) -> str:
        address = ipaddress.ip_address(self.address)
        packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
        body = _LAYOUT.pack(packed, self.port, self.server_key.encode(), self.secret_key.encode())
        return _PREFIX + base64.urlsafe_b64encode(body + struct.pack("!I", zlib.crc32(body))).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Token:
        """ConfigError, which never shows the text, when it was cut off, mistyped or of another version."""
        wrong = ConfigError(
            "this is not the token of a witness, or a part of it is missing",
            hint="copy the whole line that `safekit-witness admit` printed",
        )
        if not text.startswith(_PREFIX) or len(text) > MAX_CHARACTERS:
            raise wrong
        coded = text.removeprefix(_PREFIX)
        try:
            data = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        except (binascii.Error, ValueError):
            raise wrong from None
        if len(data) != _LAYOUT.size + 4 or struct.pack("!I", zlib.crc32(data[:-4])) != data[-4:]:
            raise wrong
        packed, port, server_key, secret_key = _LAYOUT.unpack(data[:-4])
        address = ipaddress.IPv6Address(packed)
        return cls(str(address.ipv4_mapped or address), port, server_key.decode(), secret_key.decode())


def read(text: str) -> tuple[Token, ...]:
    """One token a line, of one or three different witnesses; ConfigError says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) not in (1, 3):
        raise ConfigError(f"{_count(len(lines))}: give one, or three", hint=_why(len(lines)))
    tokens = tuple(map(Token.parse, lines))
    if len({one.server_key for one in tokens}) != len(tokens) or len({(t.address, t.port) for t in tokens}) != len(
        tokens
    ):
        raise ConfigError(
            "a witness is named twice", hint="each line is the token of another witness, on another machine"
        )
    return tokens


def _count(lines: int) -> str:
    return f"there {'is' if lines == 1 else 'are'} {lines or 'no'} token{'' if lines == 1 else 's'}"


def _why(lines: int) -> str:
    if lines == 0:
        return "put the line that `safekit-witness admit` printed into the file, one for each witness"
    if lines == 2:
        return "two witnesses decide only while both are there, which is worse than one; add a third or remove one"
    return "three witnesses go on when one of them fails; more only cost time"
