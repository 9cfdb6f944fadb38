"""The Linux calls that Python 3.11 does not wrap. All raise OSError with the errno."""

import ctypes
import os
import signal
from pathlib import Path

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_MNT_DETACH = 0x2
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_CAP_SYS_TIME = 25

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def _checked(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Enter the namespaces named by flags, of a pidfd or of a file under /proc/PID/ns. Acts on the calling thread."""
    _checked(_libc.setns(descriptor, flags), "setns")


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = (
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        flags,
        options.encode() or None,
    )
    _checked(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def detach(target: str | Path) -> None:
    """Unmount lazily: gone from the tree at once, freed when its last user ends."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def swap_root(new_root: Path) -> None:
    """Make new_root the root of this mount namespace and drop the old one; see pivot_root(2), the "." "." form."""
    os.chdir(new_root)
    _checked(_libc.pivot_root(b".", b"."), f"pivot_root {new_root}")
    detach(".")
    os.chdir("/")


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that forked it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def give_up_clock() -> None:
    """What this thread executes from now on cannot set the clock, which belongs to the host."""
    _checked(_libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_TIME, 0, 0, 0), "prctl PR_CAPBSET_DROP")


def name_process(name: str) -> None:
    """Set what ps and top show as the command; the kernel keeps 15 bytes."""
    _checked(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl PR_SET_NAME")
