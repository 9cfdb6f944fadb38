"""Domain names on the wire (RFC 1035, 3.1 and 4.1.4), read from a sender that may mean harm."""

from __future__ import annotations

NAME_MAX_BYTES = 255
_POINTER = 0xC0


class GarbageError(Exception):
    """What came is no answer, and how one can tell."""


def presented(text: str) -> str:
    """As names are compared: absolute and in lower case."""
    return text.lower().removesuffix(".") + "."


def encode(name: str) -> bytes:
    """An absolute name of ASCII labels without escapes."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"


def decode(message: bytes, offset: int) -> tuple[str, int]:
    """The name at this offset, as `presented`, and where what follows it begins. GarbageError when it is none.

    A pointer leads backwards only, so that no chain of them is endless."""
    labels: list[str] = []
    length_bytes, after, before = 1, 0, offset
    while True:
        size = _byte(message, offset)
        if size >= _POINTER:
            target = (size & ~_POINTER) << 8 | _byte(message, offset + 1)
            after = after or offset + 2
            if target >= before:
                raise GarbageError("a name in it points forward")
            offset = before = target
            continue
        if size > 63:
            raise GarbageError("a label in it has no known form")
        if size == 0:
            return ".".join(labels) + ".", after or offset + 1
        length_bytes += size + 1
        if length_bytes > NAME_MAX_BYTES or offset + 1 + size > len(message):
            raise GarbageError("a name in it does not end")
        labels.append(_label(message[offset + 1 : offset + 1 + size]))
        offset += 1 + size


def _byte(message: bytes, offset: int) -> int:
    if offset >= len(message):
        raise GarbageError("it ends within a name")
    return message[offset]


def _label(raw: bytes) -> str:
    """Printable whatever it holds; a dot within a label is escaped, as zone files have it."""
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b not in b'.\\"' else f"\\{b:03}" for b in raw).lower()
