"""fsync by the kernel's own threads (Linux AIO), told through a descriptor: no thread of Python has to wait, and take
its turn with the interpreter before and after."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from struct import Struct
from typing import Final

DEPTH: Final = 128
"""At a time."""
_NUMBERS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""Of io_setup, io_destroy, io_getevents and io_submit."""
_IOCB: Final = Struct("=QIIHhIQQqQII")
"""data, key, flags, operation, priority, file, buffer, length, offset, -, flags, descriptor to be told through."""
_EVENT: Final = Struct("=QQqq")
"""data, iocb, result, -."""
_FSYNC: Final = 2
_FDSYNC: Final = 3
_TOLD: Final = 1
_SYSCALL: Final = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.restype = ctypes.c_long
_SYSCALL.argtypes = (ctypes.c_long,) * 6


def _call(number: int, one: int, two: int = 0, three: int = 0, four: int = 0, five: int = 0) -> int:
    result: int = _SYSCALL(number, one, two, three, four, five)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Aio:
    """OSError where the kernel does not have it, or not for so many programs."""

    def __init__(self) -> None:
        if platform.machine() not in _NUMBERS:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._destroy, self._get, self._submit = _NUMBERS[platform.machine()]
        self._control = ctypes.create_string_buffer(_IOCB.size)
        self._controls = (ctypes.c_void_p * 1)(ctypes.addressof(self._control))
        self._events = bytearray(_EVENT.size * DEPTH)
        self._events_at = ctypes.addressof((ctypes.c_char * len(self._events)).from_buffer(self._events))
        context = ctypes.c_ulong(0)
        _call(setup, DEPTH, ctypes.addressof(context))
        self._context = context.value
        self._under_way = 0
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Is told of each that ended; never read from."""

    def sync(self, number: int, fd: int, *, data_only: bool) -> None:
        """The descriptor may be closed then. OSError EAGAIN when there are DEPTH: the kernel takes more than it was
        asked for, and then one look does not tell of all that ended."""
        if self._under_way >= DEPTH:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        operation = _FDSYNC if data_only else _FSYNC
        _IOCB.pack_into(self._control, 0, number, 0, 0, operation, 0, fd, 0, 0, 0, 0, _TOLD, self.fd)
        _call(self._submit, self._context, 1, ctypes.addressof(self._controls))
        self._under_way += 1

    def ended(self) -> list[tuple[int, int]]:
        """Numbers, and 0 or the errno."""
        count = _call(self._get, self._context, 0, DEPTH, self._events_at)
        self._under_way -= count
        events = _EVENT.iter_unpack(memoryview(self._events)[: count * _EVENT.size])
        return [(number, -min(result, 0)) for number, _, result, _ in events]

    def close(self) -> None:
        """It waits for what is under way."""
        _call(self._destroy, self._context)
        os.close(self.fd)
