"""A guest's memory on its way to the other node: a file beside its disks, in the form that libvirt restores.

The directory is replicated, so the file is on both nodes when it is sealed, after the last write to the disks and
before the next: whoever has the file has the disks that belong to it. Its name says so too: it has a digest of their
sizes and times. It is used once at most. A start that boots removes it first; one that goes on with it has given it
another name, on both nodes, before the guest runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_kvm_vm.definition import SIZE_MAX, Definition
from safekit_sdk import ConfigError

_HEAD: Final = struct.Struct("=16s5I56x")
"""libvirt's: magic, version, length of the definition, whether it ran, compression, where a cookie is."""
_MAGIC: Final = b"LibvirtQemudSave"
_VERSION: Final = 2
_CHUNK_BYTES: Final = 1 << 20
_SYNC_BYTES: Final = 16 << 20
"""Synced so often while the guest runs, so that little is left for when it stands."""
_KEEP_SIZE: Final = 1
"""Mode of fallocate(2): room is reserved, and the file is as long as before."""
_UNABLE: Final = (errno.EOPNOTSUPP, errno.ENOSYS)
_HEX: Final = "0123456789abcdef"
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

Standing = tuple[tuple[Path, int, int], ...]
"""What the guest's disks are, with sizes and times of the last change."""


def standing(paths: Iterable[Path]) -> Standing:
    return tuple((path, found.st_size, found.st_mtime_ns) for path in paths for found in [path.stat()])


def files(definition: Definition) -> tuple[Path, ...]:
    """All that a memory has to fit."""
    return (*definition.written, *definition.bases)


@dataclass(frozen=True, slots=True)
class Sealed:
    path: Path
    definition: Definition
    """Of the guest whose memory it is."""

    def fits(self) -> bool:
        """Whether its disks are to the nanosecond what they were when it was sealed."""
        try:
            return self.path.name.endswith(f".{_digest(standing(files(self.definition)))}")
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """All of it may block: a replicated directory waits for the other node."""

    directory: Path
    domain: str

    @property
    def _fresh(self) -> Path:
        return self._named("part")

    @property
    def _taken(self) -> Path:
        return self._named("taken")

    def examples(self) -> tuple[Path, ...]:
        """Names that the memory can have: of a sealed one, epochs of several lengths, and each way a digest may begin
        and end."""
        sealed = (f"{epoch}.{first}{first * 30}{last}" for epoch in (1, 42, 907) for first in _HEX for last in _HEX)
        return (self._fresh, self._taken, *(self._named(word) for word in sealed))

    def _named(self, word: str) -> Path:
        return self.directory / f".{self.domain}.memory.{word}"

    def write(self, definition: Definition, stream: int, limit_bytes: int) -> None:
        """All that comes out of the descriptor, which is closed in any case: whoever writes then notices. Nothing is
        left of what could not be written."""
        with os.fdopen(stream, "rb", buffering=0), os.fdopen(_create(self._fresh), "wb", buffering=0) as file:
            try:
                _reserve(file.fileno(), max(1, definition.memory_bytes))
                self._fill(file.fileno(), definition, stream, limit_bytes)
            except BaseException:
                self.discard()
                raise

    def _fill(self, file: int, definition: Definition, stream: int, limit_bytes: int) -> None:
        xml = definition.text.encode() + b"\0"
        _write(file, _HEAD.pack(_MAGIC, _VERSION, len(xml), 1, 0, 0) + xml)
        written = 0
        while chunk := _read(stream):
            if written + len(chunk) > limit_bytes:
                raise ConfigError(f"the guest changes its memory faster than it is written: {limit_bytes} bytes")
            _write(file, chunk)
            if written // _SYNC_BYTES != (written := written + len(chunk)) // _SYNC_BYTES:
                os.fdatasync(file)
        os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR))  # what was reserved beyond is free again
        os.fsync(file)

    def discard(self) -> None:
        """What was not sealed."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            self._fresh.unlink()

    def seal(self, epoch: int, definition: Definition, left: Standing) -> None:
        """From now on a start may go on with it. Only when no QEMU has the disks any more. ConfigError when they have
        changed since they were `left`. Their time of change is set, so that it is the same on both nodes."""
        if standing(files(definition)) != left:
            raise ConfigError("somebody let it go on after its memory was written")
        now_ns = time.time_ns()
        for path in definition.written:
            os.utime(path, ns=(now_ns, now_ns))
        digest = _digest(standing(files(definition)))
        self._fresh.rename(self._named(f"{epoch}.{digest}"))
        self._sync()

    def sealed(self, epoch: int) -> Sealed | None:
        """The memory of the guest that was started in this epoch, if nobody has started it since."""
        paths = [path for path, word in self._all() if word.startswith(f"{epoch}.")]
        if len(paths) != 1:
            return None
        try:
            with paths[0].open("rb") as file:
                magic, version, length, *_ = _HEAD.unpack(file.read(_HEAD.size))
                if magic != _MAGIC or version != _VERSION or length > SIZE_MAX:
                    return None
                text = file.read(length).rstrip(b"\0").decode()
            return Sealed(paths[0], Definition.parse(text, str(paths[0])))
        except (OSError, struct.error, ValueError, ConfigError):
            return None

    def take(self, sealed: Sealed) -> Path:
        """Where it is to be read from: nobody can take it a second time, on either node."""
        sealed.path.rename(self._taken)
        self._sync()
        return self._taken

    def clear(self) -> None:
        """Nothing is left to go on with."""
        paths = [path for path, _ in self._all()]
        for path in paths:
            path.unlink(missing_ok=True)
        if paths:
            self._sync()

    def _all(self) -> Iterator[tuple[Path, str]]:
        """With what follows the guest's name. Another guest may be called `vm1.memory`."""
        own = re.compile(rf"\.{re.escape(self.domain)}\.memory\.(part|taken|[0-9]+(?:\.[0-9a-f]+)?)")
        yield from ((path, found[1]) for path in self.directory.iterdir() if (found := own.fullmatch(path.name)))

    def _sync(self) -> None:
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _digest(found: Standing) -> str:
    text = "\n".join(f"{path}\0{size_bytes}\0{mtime_ns}" for path, size_bytes, mtime_ns in found)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _create(path: Path) -> int:
    """For nobody else: a guest's memory has its secrets in it."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _reserve(file: int, size_bytes: int) -> None:
    """OSError where there is no such room, before anything is written; where room cannot be reserved, none is."""
    if _LIBC.fallocate(file, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size_bytes)) == 0:
        return
    if (number := ctypes.get_errno()) not in _UNABLE:
        raise OSError(number, f"{size_bytes >> 20} MiB for its memory: {os.strerror(number)}")


def _read(stream: int) -> bytes:
    """A pipe gives little at a time, and each write is told to the other node."""
    parts, got = [], 0
    while got < _CHUNK_BYTES and (part := os.read(stream, _CHUNK_BYTES - got)):
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def _write(file: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(file, left) :]
