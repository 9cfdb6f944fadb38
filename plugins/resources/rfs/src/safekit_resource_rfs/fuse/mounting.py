"""Mount and unmount with the kernel's own calls, and find what a killed data path left mounted."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from safekit_resource_rfs import syscalls
from safekit_sdk.errors import InternalError
from safekit_sdk.replicated import FILE_SYSTEM

DEVICE: Final = Path("/dev/fuse")
KIND: Final = FILE_SYSTEM
_MAX_STACKED: Final = 16
_INHERITED: Final = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8}
"""Flags of statvfs(3) and what mount(2) calls them."""


def open_directory(directory: Path) -> int:
    """The real directory, to be opened before it is covered."""
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def mount(directory: Path, source: str) -> int:
    """Mount over the directory, and return the descriptor of /dev/fuse. The first request there is INIT."""
    device_fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    options = f"fd={device_fd},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=1048576"
    try:
        present = os.statvfs(directory).f_flag
        flags = sum(flag for bit, flag in _INHERITED.items() if present & bit)
        syscalls.mount(os.fsencode(source), os.fsencode(directory), KIND.encode(), flags, options.encode())
    except BaseException:
        os.close(device_fd)
        raise
    return device_fd


def set_readahead(directory: Path, size_bytes: int) -> None:
    """Of the mount, in larger pieces than the kernel's default; where it cannot be set, reading is slower."""
    device = directory.stat().st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    with suppress(OSError):
        setting.write_text(str(size_bytes // 1024), encoding="ascii")


def write_back(directory: Path) -> None:
    """What the kernel holds of the mount, written through memory maps above all, is written to the file system."""
    fd = open_directory(directory)
    try:
        syscalls.sync_filesystem(fd)
    finally:
        os.close(fd)


def unmount(directory: Path, *, lazy: bool) -> None:
    """OSError EBUSY when somebody uses it, unless lazy. It waits for what the kernel has still to write: never call it
    from the thread that answers."""
    syscalls.unmount(os.fsencode(directory), syscalls.MNT_DETACH if lazy else 0)


def detach_dead(directory: Path) -> int:
    """Detach mounts over the directory whose data path is gone; how many there were."""
    for count in range(_MAX_STACKED):
        try:
            os.statvfs(directory)  # is always asked, never remembered by the kernel
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED):
                raise
            unmount(directory, lazy=True)
        else:
            return count
    raise InternalError(f"{directory}: more than {_MAX_STACKED} dead mounts over it; unmount them")


def is_mounted(directory: Path) -> bool:
    """Whether the uppermost mount over the directory is one of ours, dead or alive."""
    kinds = [kind for point, kind in _mounts() if point == directory]
    return bool(kinds) and kinds[-1] == KIND


def _mounts() -> list[tuple[Path, str]]:
    """Mount point and type of each mount, the uppermost last."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    fields = [(line.split(b" ")[4], line.partition(b" - ")[2].split(b" ")[0]) for line in lines]
    return [(Path(os.fsdecode(_unescape(point))), kind.decode()) for point, kind in fields]


def _unescape(text: bytes) -> bytes:
    """The kernel writes blanks and the like as three octal digits."""
    first, *rest = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
