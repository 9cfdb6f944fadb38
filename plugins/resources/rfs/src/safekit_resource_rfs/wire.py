"""Messages as frames: a length of 4 bytes, a kind of 1 byte, and what belongs to it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

from safekit_resource_rfs import messages
from safekit_resource_rfs.changes import MAX_DATA_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES, Entry, Write
from safekit_resource_rfs.encoding import WRITE, is_written, read_change, write_change
from safekit_resource_rfs.fields import Reader, Writer, is_slot, refuse, time_of
from safekit_resource_rfs.generations import MAX_ANCESTORS, Durable, Generation
from safekit_resource_rfs.messages import Message

MAX_FRAME_BYTES: Final = MAX_DATA_BYTES + (8 << 10)
MAX_TEXT_BYTES: Final = 1000
MAX_MARKED: Final = 4096
"""Directories of one MarksPage, files of one directory, zones of one file."""
MAX_XATTRS: Final = 1 << 14
DIGEST_BYTES: Final = 16
_HEADER: Final = struct.Struct("<IB")
_ENTRY: Final = struct.Struct("<IIIQqqQIQQq")


def _read_generation(read: Reader) -> Generation:
    return Generation(read.hex_id(), read.u64(), read.many(MAX_ANCESTORS, read.hex_id))


def _write_generation(write: Writer, generation: Generation) -> None:
    write.text(generation.id)
    write.u64(generation.epoch)
    write.u32(len(generation.ancestors))
    for ancestor in generation.ancestors:
        write.text(ancestor)


_FLAGS: Final = ("up_to_date", "paired", "primary", "doubt", "clean")


def _read_durable(read: Reader) -> Durable:
    generation = _read_generation(read)
    flags = {name: read.flag() for name in _FLAGS}
    stable, cleared, since = read.u64(), read.u64(), read.hex_id()
    return replace(Durable(generation, **cast("Any", flags)), stable=stable, cleared=cleared, marks_since=since)


def _write_durable(write: Writer, durable: Durable) -> None:
    """Without the boot id, which is the node's own."""
    _write_generation(write, durable.generation)
    for name in _FLAGS:
        write.u8(getattr(durable, name))
    write.u64(durable.stable)
    write.u64(durable.cleared)
    write.text(durable.marks_since)


def _read_entry(read: Reader) -> Entry:
    name = read.name()
    numbers = _ENTRY.unpack(read.taken(_ENTRY.size))
    target, xattrs = read.blob(MAX_PATH_BYTES), read.blob(DIGEST_BYTES)
    mode, uid, gid, size, mtime_ns, ctime_ns, device, links, inode, blocks, born_ns = numbers
    return Entry(name, mode, uid, gid, size, mtime_ns, ctime_ns, device, target, xattrs, links, inode, blocks, born_ns)


def _write_entry(write: Writer, entry: Entry) -> None:
    write.blob(entry.name)
    times = (time_of(entry.mtime_ns), time_of(entry.ctime_ns))
    rest = (entry.device, entry.links, entry.inode, entry.blocks, entry.born_ns)
    write.parts.append(_ENTRY.pack(entry.mode, entry.uid, entry.gid, entry.size, *times, *rest))
    write.blob(entry.target)
    write.blob(entry.xattrs)


def _read_zones(read: Reader) -> tuple[int, ...] | None:
    return read.many(MAX_MARKED, read.u32) if read.flag() else None


def _read_marked(read: Reader) -> messages.Marked:
    path, since_ns, entries, deep = read.path(), read.i64(), read.flag(), read.flag()
    files = read.many(MAX_MARKED, lambda: (read.name(), _read_zones(read)))
    return messages.Marked(path, since_ns, entries, deep, files)


def _write_marked(write: Writer, marked: messages.Marked) -> None:
    write.blob(marked.path)
    write.i64(marked.since_ns)
    write.u8(marked.entries)
    write.u8(marked.deep)
    write.u32(len(marked.files))
    for name, zones in marked.files:
        write.blob(name)
        write.u8(zones is not None)
        if zones is not None:
            write.u32(len(zones))
            write.parts.append(struct.pack(f"<{len(zones)}I", *zones))


def _read_resume(read: Reader) -> messages.Resume:
    value = read.u8()
    kinds = tuple(messages.Resume)
    return kinds[value] if value < len(kinds) else refuse(f"{value} is not a way to go on")


def _write_many(item: Callable[[Writer, Any], None]) -> Callable[[Writer, Any], None]:
    def write_items(write: Writer, values: Any) -> None:
        write.u32(len(values))
        for value in values:
            item(write, value)

    return write_items


def _summed(length: int) -> int:
    most = messages.BLOCK_BYTES * messages.MAX_BLOCKS
    return length if length <= most else refuse(f"checksums of {length} bytes; {most} are the most")


_Field = tuple[Callable[[Reader], Any], Callable[[Writer, Any], None]]
_BOOL: Final[_Field] = (Reader.flag, Writer.u8)
_U32: Final[_Field] = (Reader.u32, Writer.u32)
_U64: Final[_Field] = (Reader.u64, Writer.u64)
_ID: Final[_Field] = (Reader.hex_id, Writer.text)
_PATH: Final[_Field] = (Reader.path, Writer.blob)
_NAME: Final[_Field] = (Reader.name, Writer.blob)
_OFFSET: Final[_Field] = (Reader.offset, Writer.u64)
_SUMMED: Final[_Field] = (lambda read: _summed(read.u64()), Writer.u64)
_TEXT: Final[_Field] = (lambda read: read.text(MAX_TEXT_BYTES), lambda write, value: write.blob(_shortened(value)))
_DURABLE: Final[_Field] = (_read_durable, _write_durable)
_GENERATION: Final[_Field] = (_read_generation, _write_generation)
_RESUME: Final[_Field] = (_read_resume, lambda write, value: write.u8(tuple(messages.Resume).index(value)))


def _list_of(limit: int, read_item: Callable[[Reader], Any], write_item: Callable[[Writer, Any], None]) -> _Field:
    return (lambda read: read.many(limit, lambda: read_item(read)), _write_many(write_item))


_LAYOUTS: Final[dict[type, tuple[int, tuple[_Field, ...]]]] = {
    messages.PrimaryHello: (1, (_U32, _ID, _DURABLE)),
    messages.Begin: (2, (_RESUME, _U64, _BOOL, _BOOL)),
    messages.List: (4, (_U64, _PATH, _NAME, _list_of(messages.MAX_NAMES, Reader.name, Writer.blob))),
    messages.Checksum: (5, (_U64, _PATH, _OFFSET, _SUMMED)),
    messages.ListXattrs: (6, (_U64, _PATH)),
    messages.Checkpoint: (7, (_U64,)),
    messages.Cleared: (8, (_U64,)),
    messages.Pair: (9, (_GENERATION, _U64, _U64)),
    messages.Alive: (10, ()),
    messages.SecondaryHello: (65, (_U32, _ID, _ID, _U64, _DURABLE)),
    messages.MarksPage: (66, (_list_of(MAX_MARKED, _read_marked, _write_marked), _BOOL, _BOOL)),
    messages.Done: (67, (_U64,)),
    messages.Synced: (68, (_U64,)),
    messages.Missed: (69, (_U64, _U32)),
    messages.Failed: (70, (_U64, _U32, _TEXT)),
    messages.Listed: (71, (_U64, _U32, _list_of(messages.MAX_ENTRIES, _read_entry, _write_entry), _BOOL)),
    messages.Checksummed: (
        72,
        (_U64, _U32, _list_of(messages.MAX_BLOCKS, lambda read: read.blob(DIGEST_BYTES), Writer.blob)),
    ),
    messages.XattrsListed: (
        73,
        (_U64, _U32, _list_of(MAX_XATTRS, lambda read: read.without_nul(MAX_NAME_BYTES), Writer.blob)),
    ),
    messages.Stable: (74, (_U64,)),
    messages.Paired: (75, (_BOOL,)),
}
_NUMBERED: Final = 3
_ALIVE: Final = 10
_FIRST_OF_SECONDARY: Final = 65
_FIELDS: Final = {kind: tuple(kind.__dataclass_fields__) for kind in cast("Any", _LAYOUTS)}
_WRITE: Final = struct.Struct("<IBQBBIQ")
"""A Numbered Write but for its data: length, kind, number, aside, kind of the change, slot, offset."""
_NUMBER: Final = struct.Struct("<IBQ")
_NUMBERS: Final[dict[int, Callable[[int], Message]]] = {
    number: cast("Any", kind) for kind, (number, fields) in _LAYOUTS.items() if fields == (_U64,)
}
"""What is nothing but a number."""
_KINDS: Final = {number: (kind, fields) for kind, (number, fields) in _LAYOUTS.items()}


def encode(message: Message) -> tuple[bytes | memoryview, ...]:
    """Buffers, to be sent one after the other. The data of a write are not copied."""
    if isinstance(message, messages.Numbered):
        return _encode_numbered(message)
    number, fields = _LAYOUTS[type(message)]
    if number in _NUMBERS:
        return (_NUMBER.pack(_NUMBER.size - 4, number, getattr(message, _FIELDS[type(message)][0])),)
    write = Writer()
    for name, (_, write_field) in zip(_FIELDS[type(message)], fields, strict=True):
        write_field(write, getattr(message, name))
    payload = b"".join(write.parts)
    if len(payload) >= MAX_FRAME_BYTES:
        raise ValueError(f"{type(message).__name__} is too long for a frame: {len(payload)} bytes")
    return (_HEADER.pack(len(payload) + 1, number) + payload,)


def _encode_numbered(message: messages.Numbered) -> tuple[bytes | memoryview, ...]:
    change = message.change
    if isinstance(change, Write):
        length = _WRITE.size - 4 + len(change.data)
        head = _WRITE.pack(length, _NUMBERED, message.seq, message.aside, WRITE, change.slot, change.offset)
        return head, change.data
    write = Writer()
    write.u64(message.seq)
    write.u8(message.aside)
    write_change(write, change)
    payload = b"".join(write.parts)
    return (_HEADER.pack(len(payload) + 1, _NUMBERED) + payload,)


class Decoder:
    """Of what one side sends. Holds one incomplete frame at most, besides what it was just given."""

    def __init__(self, *, from_primary: bool) -> None:
        self._from_primary = from_primary
        self._numbers = {kind: made for kind, made in _NUMBERS.items() if self._is_right(kind)}
        self._buffer = bytearray()

    def _is_right(self, kind: int) -> bool:
        return kind == _ALIVE or (kind < _FIRST_OF_SECONDARY) is self._from_primary

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages that are complete now. PeerError: nothing that follows can be understood."""
        if self._buffer:
            self._buffer += data
            found, at = self._whole(self._buffer)
            del self._buffer[:at]
        else:
            found, at = self._whole(data)
            self._buffer += memoryview(data)[at:]
        return found

    def _whole(self, data: bytes | bytearray | memoryview) -> tuple[list[Message], int]:
        """The messages that are there as a whole, and where they end."""
        found: list[Message] = []
        at, available = 0, len(data)
        with memoryview(data) as view:
            while available - at >= _HEADER.size:
                length, kind = _HEADER.unpack_from(view, at)
                if not 1 <= length <= MAX_FRAME_BYTES:
                    refuse(f"a frame of {length} bytes")
                end = at + 4 + length
                if end > available:
                    break
                found.append(self._read(kind, view, at, end))
                at = end
        return found, at

    def _read(self, kind: int, view: memoryview, at: int, end: int) -> Message:
        """What comes most in one go, where nothing is wrong with it; what it does not understand, and all else, field
        by field."""
        if kind in self._numbers and end - at == _NUMBER.size:
            return self._numbers[kind](_NUMBER.unpack_from(view, at)[2])
        if kind == _NUMBERED and self._from_primary and end - at > _WRITE.size:
            _, _, seq, aside, change, slot, offset = _WRITE.unpack_from(view, at)
            count = end - at - _WRITE.size
            if change == WRITE and aside < 2 and is_slot(slot) and is_written(offset, count):
                return messages.Numbered(seq, Write(slot, offset, bytes(view[at + _WRITE.size : end])), aside == 1)
        return self._message(kind, bytes(view[at + _HEADER.size : end]))

    def _message(self, kind: int, payload: bytes) -> Message:
        if not self._is_right(kind):
            refuse(f"a message of kind {kind} from the wrong side")
        read = Reader(payload)
        if kind == _NUMBERED:
            seq, aside = read.u64(), read.flag()
            return messages.Numbered(seq, read_change(read), aside)
        if kind not in _KINDS:
            refuse(f"{kind} is not a kind of message")
        message_type, fields = _KINDS[kind]
        message = message_type(*[read_field(read) for read_field, _ in fields])
        read.end()
        return cast("Message", message)


def _shortened(text: str) -> bytes:
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore").encode()
