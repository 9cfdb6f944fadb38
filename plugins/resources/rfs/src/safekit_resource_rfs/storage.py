"""The durable files of one replicated directory: which generation it has, and the log of marks.

Formats with their versions: docs/reference/rfs-protocol.md. Methods block until the disk has what they wrote, raise
OSError when it refuses, and are called one at a time.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

from safekit_resource_rfs.generations import Durable, Generation
from safekit_resource_rfs.marks import Mark, Place
from safekit_sdk import ConfigError

VERSION: Final = 1
MAX_LOG_BYTES: Final = 256 << 20
_GENERATION, _MARKS, _NEW = "generation", "marks", ".new"
_TITLE: Final = "safekit rfs generation"
_LOG_TITLE: Final = b"safekit rfs marks\0" + bytes([VERSION])
_BATCH: Final = struct.Struct("<4sII")
"""Magic, length of what follows, its CRC-32."""
_MAGIC: Final = b"\xa7mk\x01"
_LINE: Final = struct.Struct("<BqQiB")
_PLACE, _EVERYTHING, _CLOCK = 1, 2, 3
_LEFT: Final = "left"
"""The field that is there only when it is set: earlier versions know a state without it."""


class Storage:
    """In a folder of its own, which only its owner can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log_fd = -1
        self._log_bytes = 0
        """What of the log is whole."""

    def load(self) -> tuple[Durable, list[Mark]]:
        """What is on the disk; nothing at all in a new folder. ConfigError for what cannot be read: it is never taken
        for nothing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.folder.glob("*" + _NEW):
            left.unlink()
        generation, marks = self.folder / _GENERATION, self.folder / _MARKS
        if not generation.exists():
            if marks.exists() and _read_log(marks)[0]:
                _refuse(generation, "is missing, while marks are there")
            self.replace(())
            return Durable(), []
        durable = _read_generation(generation)
        if not marks.exists():
            _refuse(marks, "is missing")
        found, whole_bytes = _read_log(marks)
        self._open_log(marks, whole_bytes)
        return durable, found

    def store(self, durable: Durable) -> None:
        fields = {name: value for name, value in asdict(durable).items() if name != _LEFT or value}
        body = json.dumps(fields, sort_keys=True)
        head = f"{_TITLE} {VERSION} {zlib.crc32(body.encode()):08x}"
        self._write_whole(self.folder / _GENERATION, f"{head}\n{body}\n".encode())

    def append(self, marks: Iterable[Mark]) -> None:
        """As one: after a crash all of these are there, or none that anyone relied on."""
        if self._log_fd < 0:
            raise OSError(errno.EIO, "the log of marks could not be replaced")
        data = _batch(marks)
        os.ftruncate(self._log_fd, self._log_bytes)
        written = os.pwrite(self._log_fd, data, self._log_bytes)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes of marks could be written")
        os.fdatasync(self._log_fd)
        self._log_bytes += len(data)

    def replace(self, marks: Iterable[Mark]) -> None:
        """Until it has succeeded nothing is appended: nobody knows which file the log is after a crash."""
        path, data = self.folder / _MARKS, _LOG_TITLE + _batch(marks)
        self.close()
        self._write_whole(path, data)
        self._open_log(path, len(data))

    def close(self) -> None:
        if self._log_fd >= 0:
            os.close(self._log_fd)
        self._log_fd = -1

    def _open_log(self, path: Path, whole_bytes: int) -> None:
        self.close()
        self._log_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._log_bytes = whole_bytes

    def _write_whole(self, path: Path, data: bytes) -> None:
        new = path.with_name(path.name + _NEW)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        new.rename(path)
        directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _refuse(path: Path, what: str) -> NoReturn:
    raise ConfigError(
        f"what is known of the replicated data cannot be read: {path.name} {what}",
        where=str(path),
        hint=f"move the folder {path.parent} away; this node is then compared completely with the other one, which "
        "has to be primary. Make this one primary with --force only when the other node's data are worse",
    )


def _read_generation(path: Path) -> Durable:
    head, _, body = path.read_bytes().partition(b"\n")
    body = body.removesuffix(b"\n")
    words = head.decode(errors="replace").rsplit(" ", 2)
    if len(words) != 3 or words[0] != _TITLE:
        _refuse(path, "is not a file of this kind")
    if words[1] != str(VERSION):
        _refuse(path, f"has version {words[1][:20]}, and this safekit knows {VERSION}")
    if words[2] != f"{zlib.crc32(body):08x}":
        _refuse(path, "is damaged: its checksum differs")
    try:
        return _durable(json.loads(body))
    except (ValueError, TypeError, KeyError):
        _refuse(path, "does not hold what its version has")


def _durable(values: dict[str, Any]) -> Durable:
    generation = values.pop("generation")
    values.setdefault(_LEFT, False)
    if set(values) != set(asdict(Durable())) - {"generation"}:
        raise ValueError("other fields")
    identity = Generation(str(generation["id"]), int(generation["epoch"]), tuple(map(str, generation["ancestors"])))
    return Durable(identity, **values)


def _batch(marks: Iterable[Mark]) -> bytes:
    body = b"".join(map(_line, marks))
    return _BATCH.pack(_MAGIC, len(body), zlib.crc32(body)) + body


def _line(mark: Mark) -> bytes:
    if mark.place is None:
        return _LINE.pack(_EVERYTHING if mark.everything else _CLOCK, mark.since_ns, 0, 0, 0)
    place = mark.place
    head = _LINE.pack(_PLACE, mark.since_ns, place.inode, place.zone, len(place.directory))
    return head + place.directory


def _read_log(path: Path) -> tuple[list[Mark], int]:
    """The marks, and how many bytes of the file are whole. A batch that a crash tore is the last one, and nobody relied
    on it; a damaged one with others behind it is refused."""
    if path.stat().st_size > MAX_LOG_BYTES:
        _refuse(path, f"is larger than {MAX_LOG_BYTES >> 20} MiB")
    data = path.read_bytes()
    if data[: len(_LOG_TITLE) - 1] != _LOG_TITLE[:-1]:
        _refuse(path, "is not a file of this kind")
    if data[: len(_LOG_TITLE)] != _LOG_TITLE:
        _refuse(
            path, f"has version {data[len(_LOG_TITLE) - 1 : len(_LOG_TITLE)].hex()}, and this safekit knows {VERSION}"
        )
    marks: list[Mark] = []
    at = len(_LOG_TITLE)
    while (body := _body(data, at)) is not None:
        marks += _lines(path, body)
        at += _BATCH.size + len(body)
    if _has_batch(data, at + 1):
        _refuse(path, f"is damaged at byte {at}")
    return marks, at


def _body(data: bytes, at: int) -> bytes | None:
    """Of the batch that begins there; None: no whole one does."""
    if at + _BATCH.size > len(data):
        return None
    magic, length, checksum = _BATCH.unpack_from(data, at)
    body = data[at + _BATCH.size : at + _BATCH.size + length]
    return body if magic == _MAGIC and len(body) == length and zlib.crc32(body) == checksum else None


def _has_batch(data: bytes, at: int) -> bool:
    at = data.find(_MAGIC, at)
    while at >= 0:
        if _body(data, at) is not None:
            return True
        at = data.find(_MAGIC, at + 1)
    return False


def _lines(path: Path, body: bytes) -> Iterator[Mark]:
    at = 0
    while at < len(body):
        if at + _LINE.size > len(body):
            _refuse(path, "is damaged: a line ends too early")
        kind, since_ns, inode, zone, length = _LINE.unpack_from(body, at)
        at += _LINE.size
        handle = body[at : at + length]
        at += length
        if len(handle) != length or kind not in (_PLACE, _EVERYTHING, _CLOCK):
            _refuse(path, "is damaged: a line is not one")
        yield Mark(since_ns, Place(handle, inode, zone) if kind == _PLACE else None, kind == _EVERYTHING)
