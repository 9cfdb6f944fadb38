"""Rights that a witness does not need are given up before it opens a socket."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from safekit_sdk import ConfigError

_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_V3: Final = 0x20080522


def drop(directory: Path) -> str:
    """As root become the owner of the directory, or keep only the name when that is root too. Says what is left.
    Before any thread is made: capabilities belong to threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() != 0:
        return f"user {os.geteuid()}"
    owner = directory.stat()
    if owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
        return f"user {owner.st_uid}"
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise ConfigError("root's capabilities cannot be given up", hint=f"chown the directory {directory} to a user")
    return "root without capabilities"
