"""Structured logs. To journald with a field for each fact when systemd runs us, else one JSON object a line on standard
error, which `safekit daemon start` makes a file whose size is bounded."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import stat
import struct
import sys
import threading
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog

JOURNAL: Final = Path("/run/systemd/journal/socket")
KEPT: Final = 4
"""Files beside the one that is written."""
LOOK_S: Final = 5.0
_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Those of syslog(3)."""


def configure_logs(process: str, level: int = logging.INFO, journal: Path = JOURNAL) -> None:
    """`process`: who says so, in each line."""
    to_journal = is_journal(sys.stderr.fileno(), os.environ) and journal.exists()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *([] if to_journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
            structlog.processors.format_exc_info,
            _datagram if to_journal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=(lambda *_: _Journal(journal)) if to_journal else structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether it is what systemd connected to the journal: it says so by device and inode (systemd.exec(5))."""
    found = os.fstat(descriptor)
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class _Journal:
    """A line that the journal does not take at once is lost: nobody may be held up by what he says."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def msg(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, self._path)
        except OSError as error:
            print(f"a line of the log was lost: {error}", file=sys.stderr)

    debug = info = warning = error = critical = msg


def _datagram(logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
    """In journald's native protocol: NAME=VALUE, or NAME, the length and the value where that has several lines."""
    del logger, method
    level = str(event.pop("level", "info"))
    fields = {"MESSAGE": str(event.pop("event", "")), "PRIORITY": str(_PRIORITIES.get(level, 6))}
    fields["SYSLOG_IDENTIFIER"] = _identifier(str(event.pop("process", "")))
    for name, value in event.items():
        fields[f"SAFEKIT_{_field(name)}"] = str(value)
    return b"".join(_encoded(name, value) for name, value in fields.items())


def _identifier(process: str) -> str:
    """`safekitd`, `safekit-host-web`: for `journalctl -t`."""
    return process if process.startswith("safekit") else f"safekit-{process.replace(' ', '-')}"


def _field(name: str) -> str:
    """As journald takes one: capitals, digits and underscores, 64 at most."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name).upper()[:56]


def _encoded(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")
    if b"\n" not in data:
        return f"{name}=".encode() + data + b"\n"
    return f"{name}\n".encode() + struct.pack("<Q", len(data)) + data + b"\n"


def bound_log(limit_bytes: int) -> None:
    """Begin the file that standard error is anew whenever it has this size, and keep KEPT earlier ones. It is looked at
    by a thread: the hosts and their programs write to the same file."""
    if not stat.S_ISREG(os.fstat(2).st_mode):
        return
    threading.Thread(target=_look_after, args=(limit_bytes,), name="log", daemon=True).start()


def _look_after(limit_bytes: int) -> None:
    path = Path("/proc/self/fd/2").readlink()
    pause = threading.Event()
    while not pause.wait(LOOK_S):
        if os.fstat(2).st_size >= limit_bytes:
            rotate(path, limit_bytes)


def rotate(path: Path, limit_bytes: int) -> None:
    """Copied and then emptied, because several processes have it open; what comes in between is lost. Of a file that
    grew far beyond the limit before that the end is kept. It is emptied also where no copy can be made."""
    try:
        for number in range(KEPT, 1, -1):
            if (earlier := path.with_name(f"{path.name}.{number - 1}")).exists():
                earlier.rename(path.with_name(f"{path.name}.{number}"))
        copy = path.with_name(f"{path.name}.1")
        with path.open("rb") as source, _created(copy) as target:
            source.seek(max(source.seek(0, os.SEEK_END) - 2 * limit_bytes, 0))
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        print(f"the log {path} was emptied without a copy: {error}", file=sys.stderr)
    finally:
        os.truncate(path, 0)


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640), "wb")
