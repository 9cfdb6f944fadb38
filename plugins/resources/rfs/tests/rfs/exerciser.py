"""Exercises one file in every way that changes or reads data, against what it should have (after the idea of fsx)."""

from __future__ import annotations

import errno
import mmap
import os
import random
from pathlib import Path
from typing import Self

from safekit_resource_rfs.syscalls import fallocate

LIMIT_BYTES = 300_000
PAGE_BYTES = 4096
KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32


class Exerciser:
    def __init__(self, path: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._path = path
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self._direct_fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.expected = bytearray()
        self._steps = (
            *[self._write, self._append, self._truncate, self._punch, self._zero, self._allocate, self._map_write],
            *[self._write_direct, self._read, self._map_read, self._read_direct, self._sync, self._reopen],
            *[self._allocate_behind, self._copy, self._shift, self._seek],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.close(self._direct_fd)

    def step(self) -> None:
        self._random.choice(self._steps)()
        assert os.fstat(self._fd).st_size == len(self.expected)

    def check(self) -> None:
        """All of it, as the next program sees it."""
        assert self._path.read_bytes() == self.expected

    def _range(self) -> tuple[int, int]:
        offset = self._random.randrange(LIMIT_BYTES)
        return offset, self._random.randrange(1, min(70_000, LIMIT_BYTES - offset + 1))

    def _page_range(self) -> tuple[int, int]:
        offset, length = self._range()
        return offset // PAGE_BYTES * PAGE_BYTES, (length // PAGE_BYTES + 1) * PAGE_BYTES

    def _put(self, offset: int, data: bytes) -> None:
        if data and len(self.expected) < offset + len(data):
            self.expected.extend(bytes(offset + len(data) - len(self.expected)))
        self.expected[offset : offset + len(data)] = data

    def _write(self) -> None:
        offset, length = self._range()
        data = self._random.randbytes(length)
        assert os.pwrite(self._fd, data, offset) == length
        self._put(offset, data)

    def _append(self) -> None:
        if len(self.expected) < LIMIT_BYTES:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            os.write(fd, b"appended")
            os.close(fd)
            self.expected += b"appended"

    def _truncate(self) -> None:
        size = self._random.randrange(LIMIT_BYTES)
        os.ftruncate(self._fd, size)
        self.expected = self.expected[:size].ljust(size, b"\0")

    def _punch(self) -> None:
        offset, length = self._range()
        fallocate(self._fd, PUNCH | KEEP, offset, length)
        end = min(offset + length, len(self.expected))
        self.expected[offset:end] = bytes(max(0, end - offset))

    def _zero(self) -> None:
        offset, length = self._range()
        if self._random.random() < 0.5:
            fallocate(self._fd, ZERO, offset, length)
            self._put(offset, bytes(length))
        else:
            fallocate(self._fd, ZERO | KEEP, offset, length)
            self._put(offset, bytes(max(0, min(length, len(self.expected) - offset))))

    def _allocate(self) -> None:
        offset, length = self._range()
        fallocate(self._fd, 0, offset, length)
        self.expected.extend(bytes(max(0, offset + length - len(self.expected))))

    def _allocate_behind(self) -> None:
        offset, length = self._range()
        fallocate(self._fd, KEEP, offset, length)

    def _shift(self) -> None:
        """Out of the middle or into it: as far as the file system does that."""
        offset, length = self._page_range()
        mode = self._random.choice((COLLAPSE, INSERT))
        if offset + length >= len(self.expected):
            return
        try:
            fallocate(self._fd, mode, offset, length)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
        else:
            self.expected[offset : offset + (length if mode == COLLAPSE else 0)] = bytes(
                length if mode == INSERT else 0
            )
            os.ftruncate(self._fd, min(len(self.expected), LIMIT_BYTES))
            del self.expected[LIMIT_BYTES:]

    def _copy(self) -> None:
        offset, length = self._range()
        target = self._random.randrange(LIMIT_BYTES)
        if abs(target - offset) < length:
            return
        count = os.copy_file_range(self._fd, self._fd, length, offset, target)
        assert count > 0 or offset >= len(self.expected)
        self._put(target, self.expected[offset : offset + count])

    def _seek(self) -> None:
        """What is said to be a hole is one."""
        offset, _ = self._range()
        if offset >= len(self.expected):
            return
        try:
            start = os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            start = len(self.expected)
        assert not any(self.expected[offset:start])

    def _map_write(self) -> None:
        if self.expected:
            with mmap.mmap(self._fd, 0) as memory:
                offset = self._random.randrange(len(memory))
                data = self._random.randbytes(min(20_000, len(memory) - offset))
                memory[offset : offset + len(data)] = data
                if self._random.random() < 0.5:
                    memory.flush()
            self._put(offset, data)

    def _map_read(self) -> None:
        if self.expected:
            with mmap.mmap(self._fd, 0, prot=mmap.PROT_READ) as memory:
                assert memory[:] == self.expected

    def _write_direct(self) -> None:
        offset, length = self._page_range()
        with mmap.mmap(-1, length) as aligned:
            aligned.write(self._random.randbytes(length))
            assert os.pwritev(self._direct_fd, [aligned], offset) == length
            self._put(offset, aligned[:])

    def _read_direct(self) -> None:
        offset, length = self._page_range()
        with mmap.mmap(-1, length) as aligned:
            count = os.preadv(self._direct_fd, [aligned], offset)
            assert aligned[:count] == self.expected[offset : offset + length]

    def _read(self) -> None:
        offset, length = self._range()
        assert os.pread(self._fd, length, offset) == self.expected[offset : offset + length]

    def _sync(self) -> None:
        self._random.choice((os.fsync, os.fdatasync))(self._fd)

    def _reopen(self) -> None:
        os.close(self._fd)
        if self._random.random() < 0.3:
            Path("/proc/sys/vm/drop_caches").write_text("3")
        self._fd = os.open(self._path, os.O_RDWR)
