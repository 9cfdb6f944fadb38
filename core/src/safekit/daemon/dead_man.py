"""Resets this node when something of a primary runs whose right to run has ended, and nobody could stop it.

The hardware watchdog does it also when this process stands still: it is fed only as long as every such primary may go
on for longer than its timeout. Without one the kernel is asked (sysrq), if the operator allows that. Linux documents
both: watchdog-api and sysrq.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from safekit.settings import Settings

log = structlog.get_logger("dead man")
TIMEOUT_S: Final = 2
SET_TIMEOUT: Final = 0xC0045706
"""WDIOC_SETTIMEOUT."""
MAGIC: Final = b"V"
"""Closed after this, the device does not bite."""
RESET: Final = b"b"


class DeadMan:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._device: int | None = None
        self._timeout_s = float(TIMEOUT_S)
        self.trouble = ""
        """Why a watchdog that is asked for is not there."""

    def feed(self, fence_s: Sequence[float]) -> None:
        """`fence_s`: when each primary here has to have stopped, in monotonic seconds. Called every heartbeat."""
        if not fence_s:
            self.close(clean=True)
        elif self._opened() and time.monotonic() + self._timeout_s <= min(fence_s):
            self._write(b"1")

    def _opened(self) -> bool:
        if self._device is not None:
            return True
        if self._settings.watchdog == "off" or (self._settings.watchdog == "automatic" and not self._present()):
            return False
        try:
            self._device = os.open(self._settings.watchdog_device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self._note(f"the watchdog {self._settings.watchdog_device} cannot be used: {error.strerror}")
            return False
        self._set_timeout(self._device)
        self._note("")
        return True

    def _present(self) -> bool:
        return self._settings.watchdog_device.exists()

    def _set_timeout(self, device: int) -> None:
        """The device may choose a longer one, and says which."""
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(device, SET_TIMEOUT, struct.pack("i", TIMEOUT_S))
            self._timeout_s = float(struct.unpack("i", answer)[0])

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            if trouble:
                log.error(trouble)

    def _write(self, data: bytes) -> None:
        if self._device is not None:
            try:
                os.write(self._device, data)
            except OSError as error:
                self._note(f"the watchdog {self._settings.watchdog_device} cannot be fed: {error.strerror}")

    def close(self, *, clean: bool) -> None:
        """`clean`: nothing runs whose right could end; else it bites."""
        if self._device is not None:
            if clean:
                self._write(MAGIC)
            os.close(self._device)
            self._device = None

    def reset(self, why: str) -> None:
        if self._settings.self_fence != "reboot":
            log.error("this node is not reset: SAFEKIT_SELF_FENCE is 'none'", why=why)
            return
        log.error("this node resets itself", why=why)
        try:
            with Path(self._settings.sysrq).open("wb", buffering=0) as trigger:
                trigger.write(RESET)
        except OSError as error:
            self._note(f"this node cannot reset itself: {self._settings.sysrq}: {error.strerror}")
