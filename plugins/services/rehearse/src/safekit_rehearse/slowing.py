"""Makes a file system slow: it is frozen most of the time, in pulses. What writes or syncs waits for the end of one;
reads do not. It needs no device mapper and no control group, works on LVM and RAID, and asks the kernel for the same
that a snapshot does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import Final

from safekit_rehearse.harm import Harm, Order, directory
from safekit_sdk import ConfigError, RefusedError

HELD_S: Final = 0.25
FREE_S: Final = 0.05
LAST_S: Final = 30.0
"""For a pulse to end: the kernel first writes out what is dirty."""
FREEZABLE: Final = frozenset(("btrfs", "ext3", "ext4", "f2fs", "xfs"))
_FIFREEZE: Final = 0xC0045877
_FITHAW: Final = 0xC0045878
"""As in linux/fs.h."""


class SlowDisk(Harm):
    """When its guard is killed in a pulse the second one thaws. Only both at once leave it frozen: `fsfreeze -u`."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._device = _device(order.path)
        self._end = threading.Event()
        self._pulses: threading.Thread | None = None

    def check(self) -> None:
        place = directory(self.order)
        kind, source = mounted(place)
        if kind not in FREEZABLE:
            raise ConfigError(
                f"{place} is on {kind or 'nothing known'} ({source}), which cannot be made slow",
                hint=f"--path of a directory on {', '.join(sorted(FREEZABLE))}",
            )
        if _device(self.order.run) == self._device:
            raise RefusedError(
                f"{self.order.run} is on it too, and what undoes the drill writes there", hint="see --path"
            )

    def do(self) -> str:
        if not self._pulse():
            raise RefusedError("something else has frozen it, as a backup does", hint="try again when that is over")
        self._pulses = threading.Thread(target=self._go_on, daemon=True)
        self._pulses.start()
        kind, source = mounted(Path(self.order.path))
        share = f"{FREE_S * 1000:g} of {(HELD_S + FREE_S) * 1000:g} ms"
        return f"{source} ({kind}) took writes for {share} only, frozen in between (FIFREEZE); reads were not slowed"

    def undo(self) -> None:
        self._end.set()
        if self._pulses is not None:
            self._pulses.join(LAST_S)
        self._ask(_FITHAW)

    def _go_on(self) -> None:
        while not self._end.wait(FREE_S):
            with contextlib.suppress(OSError):
                self._pulse()

    def _pulse(self) -> bool:
        """False when it was frozen by somebody else, who thaws it too. It is not held open, as it may have to be
        unmounted."""
        if not self._ask(_FIFREEZE):
            return False
        try:
            self._end.wait(HELD_S)
        finally:
            self._ask(_FITHAW)
        return True

    def _ask(self, request: int) -> bool:
        """False when it is so already, or is not there any more."""
        if self._device is None or _device(self.order.path) != self._device:
            return False
        place = os.open(self.order.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(place, request, 0)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EINVAL}:
                raise
            return False
        finally:
            os.close(place)
        return True


def mounted(place: Path) -> tuple[str, str]:
    """The kind of file system, and what it is on; of the mount point that is nearest, and on top there."""
    real, found, depth = place.resolve(), ("", ""), 0
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4])
        if real.is_relative_to(point) and len(point.parts) >= depth:
            kind, source, *_ = right.split()
            found, depth = (kind, source), len(point.parts)
    return found


def _device(path: str) -> int | None:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_dev
    return None
