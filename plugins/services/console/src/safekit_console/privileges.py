"""The console begins as root where a service manager does not start it as its own user, and becomes that user before it
hears the network."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
from pathlib import Path

from safekit_sdk import ConfigError

MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""
FILES = 4096
"""Connections and their like at once."""


def give_up(user: str, var: Path) -> None:
    """Become this user, for ever. ConfigError when there is no such user; as who is not root nothing changes."""
    if os.geteuid() != 0:
        return
    found = _user(user)
    var.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chown(var, found.pw_uid, found.pw_gid)
    var.chmod(0o700)
    os.setgroups([])
    os.setgid(found.pw_gid)
    os.setuid(found.pw_uid)
    os.environ["HOME"] = str(var)


def bound() -> None:
    """Files at once, and no core file with secrets in it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    _give_memory_back()


def _give_memory_back() -> None:
    """Of each connection's TLS buffers, as soon as it ends: the C library would keep them for itself after the first
    few. Where it is not glibc, nothing has to be done."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 128 << 10)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"there is no user '{name}' on this node", hint="`safekit console setup` makes it") from None
