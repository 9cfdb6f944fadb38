"""The state of a network interface, read without the kernel's lock over its network configuration: that lock may be
held for seconds, by a driver that hangs for one."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from enum import StrEnum
from pathlib import Path
from typing import Final

_GET_FLAGS: Final = 0x8913
_REQUEST: Final = struct.Struct("16sH22x")
"""struct ifreq with its flags."""
_UP, _RUNNING = 0x1, 0x40


class State(StrEnum):
    ABSENT = "there is no such interface"
    OFF = "it is switched off"
    UNLINKED = "it has no link"
    LINKED = "it has a link"


def names() -> frozenset[str]:
    """The interfaces of this network namespace."""
    lines = Path("/proc/thread-self/net/dev").read_text(encoding="ascii", errors="replace").splitlines()[2:]
    return frozenset(line.rpartition(":")[0].strip() for line in lines)


def state(name: str) -> State:
    """OSError when the kernel cannot be asked."""
    if name not in names():  # asked for one that is not there, the kernel runs modprobe, and waits for it
        return State.ABSENT
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _GET_FLAGS, _REQUEST.pack(name.encode(), 0))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return State.ABSENT
            raise
    flags = _REQUEST.unpack(answer)[1]
    if not flags & _UP:
        return State.OFF
    return State.LINKED if flags & _RUNNING else State.UNLINKED
