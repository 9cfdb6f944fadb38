"""Numbers, bytes, names and paths as they stand in a frame: little endian, lengths first, all checked when read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from safekit_resource_rfs.changes import MAX_NAME_BYTES, MAX_PATH_BYTES, RESYNC_SLOTS, SLOTS
from safekit_sdk import PeerError

MAX_OFFSET: Final = (1 << 63) - 1
MAX_ID_BYTES: Final = 32
HIDDEN: Final = b".safekit-rfs"
"""In the root: not replicated."""
_U8, _U32, _U64, _I64 = (struct.Struct("<" + code) for code in "BIQq")
_Item = TypeVar("_Item")


def refuse(what: str) -> NoReturn:
    raise PeerError(
        f"the other node's data path broke the replication protocol: {what}",
        hint="the connection is made anew; if this repeats, compare the versions of safekit on both nodes",
    )


def time_of(nanoseconds: int) -> int:
    """A time after the year 2262 or before 1677 is sent as that: the fields have no room for more."""
    return min(max(nanoseconds, -(1 << 63)), (1 << 63) - 1)


class Reader:
    """Of one frame. Every method raises PeerError for what may not be there."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _number(self, kind: struct.Struct) -> int:
        at = self._at
        self._at = at + kind.size
        if self._at > len(self._data):
            refuse("a message ends too early")
        return int(kind.unpack_from(self._data, at)[0])

    def u8(self) -> int:
        return self._number(_U8)

    def u32(self) -> int:
        return self._number(_U32)

    def u64(self) -> int:
        return self._number(_U64)

    def i64(self) -> int:
        return self._number(_I64)

    def flag(self) -> bool:
        value = self._number(_U8)
        if value > 1:
            refuse(f"{value} is not a truth value")
        return value == 1

    def offset(self) -> int:
        value = self._number(_U64)
        return value if value <= MAX_OFFSET else refuse(f"{value} is not an offset")

    def taken(self, count: int) -> memoryview:
        at = self._at
        self._at = at + count
        if self._at > len(self._data):
            refuse("a message ends too early")
        return memoryview(self._data)[at : self._at]

    def rest(self) -> memoryview:
        return self.taken(len(self._data) - self._at)

    def blob(self, limit_bytes: int) -> bytes:
        count = self.u32()
        if count > limit_bytes:
            refuse(f"a field of {count} bytes, where {limit_bytes} are allowed")
        return bytes(self.taken(count))

    def text(self, limit_bytes: int) -> str:
        try:
            return self.blob(limit_bytes).decode()
        except UnicodeDecodeError:
            refuse("a text is not UTF-8")

    def hex_id(self) -> str:
        value = self.text(MAX_ID_BYTES)
        if any(character not in "0123456789abcdef" for character in value):
            refuse(f"{value!r} is not an id")
        return value

    def name(self) -> bytes:
        """Of an entry, or empty."""
        value = self.blob(MAX_NAME_BYTES)
        if value in (b".", b"..") or b"/" in value or b"\0" in value:
            refuse(f"{value!r} is not a name")
        return value

    def path(self) -> bytes:
        """May be empty: the directory itself."""
        value = self.blob(MAX_PATH_BYTES)
        if value:
            check_path(value)
        return value

    def path_inside(self) -> bytes:
        return self.path() or refuse("the replicated directory itself is no place for this change")

    def without_nul(self, limit_bytes: int) -> bytes:
        value = self.blob(limit_bytes)
        if not value or b"\0" in value:
            refuse("an empty field, or one with a zero byte, where none may be")
        return value

    def slot(self) -> int:
        value = self.u32()
        return value if is_slot(value) else refuse(f"{value} is not a slot")

    def many(self, limit: int, read: Callable[[], _Item]) -> tuple[_Item, ...]:
        count = self.u32()
        if count > limit or count > len(self._data) - self._at:
            refuse(f"a list of {count}, where {limit} are allowed")
        return tuple(read() for _ in range(count))

    def end(self) -> None:
        if self._at != len(self._data):
            refuse(f"{len(self._data) - self._at} bytes too many in a message")


def is_slot(value: int) -> bool:
    return 0 < value < SLOTS + RESYNC_SLOTS


def check_path(path: bytes) -> None:
    parts = path.split(b"/")
    for part in parts:
        if not part or part in (b".", b"..") or len(part) > MAX_NAME_BYTES:
            refuse(f"{path[:80]!r} is not a path beneath the replicated directory")
    if b"\0" in path or parts[0] == HIDDEN:
        refuse(f"{path[:80]!r} is not a path that is replicated")


class Writer:
    """Builds one frame's payload."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def u8(self, value: int) -> None:
        self.parts.append(_U8.pack(value))

    def u32(self, value: int) -> None:
        self.parts.append(_U32.pack(value))

    def u64(self, value: int) -> None:
        self.parts.append(_U64.pack(value))

    def i64(self, value: int) -> None:
        value = time_of(value)
        self.parts.append(_I64.pack(value))

    def blob(self, value: bytes) -> None:
        self.parts += (_U32.pack(len(value)), value)

    def text(self, value: str) -> None:
        self.blob(value.encode())
