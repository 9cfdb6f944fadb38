"""Looks at a file system when told to, as a program of its own: when the disk hangs, this process does, in the kernel,
where no signal reaches it. Its parent can go on, and can end.

Run by path as `probe.py PATH FILE`, without any package. Each message on standard input is a number; what is being
done is told before it is begun, so that the parent knows what hangs: `7 stat`, `7 write`, then `7 {…}` with what was
found."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time

MESSAGE_MAX_BYTES = 4096
SIZE_BYTES = 4096
"""Of the file that is written: one block, newly allocated each time, so that a full disk shows."""


def main(path: str, file: str) -> None:
    """`file` is empty when nothing is to be written. Ends when the other side has closed."""
    while number := os.read(0, MESSAGE_MAX_BYTES).decode():
        found: dict[str, object] = {}
        try:
            _tell(number, "stat")
            found |= _seen(path)
            if file:
                _tell(number, "write")
                found["write_ms"] = _write(file)
        except OSError as error:
            found |= {"error": errno.errorcode.get(error.errno or 0, ""), "told": os.strerror(error.errno or 0)}
        _tell(number, json.dumps(found))


def _tell(number: str, what: str) -> None:
    os.write(1, f"{number} {what}".encode())


def _seen(path: str) -> dict[str, object]:
    """Sizes in bytes; `used` and `available` are those of `df`, what is kept for root being neither."""
    at, above = os.stat(path), os.stat(f"{path}/..")  # noqa: PTH116 - pathlib is slow to import
    system = os.statvfs(path)
    return {
        "mounted": (at.st_dev, at.st_ino) == (above.st_dev, above.st_ino) or at.st_dev != above.st_dev,
        "read_only": bool(system.f_flag & os.ST_RDONLY),
        "used": (system.f_blocks - system.f_bfree) * system.f_frsize,
        "available": system.f_bavail * system.f_frsize,
        "inodes": system.f_files,
        "free_inodes": system.f_favail,
    }


def _write(file: str) -> float:
    """Milliseconds that it took. A file that an earlier probe left is removed, never followed or written to."""
    began_s = time.monotonic()
    _remove(file)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, os.urandom(SIZE_BYTES)) != SIZE_BYTES:
            raise OSError(errno.ENOSPC, "")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        _remove(file)
    return (time.monotonic() - began_s) * 1000


def _remove(file: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)  # noqa: PTH108


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
