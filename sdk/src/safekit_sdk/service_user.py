"""A service beside safekitd is no root: a system user of its own, in the group that may reach safekitd. As that is not
its first group, safekitd lets it look and no more."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from safekit_sdk.control import open_to_group
from safekit_sdk.errors import ConfigError

_PR_SET_NO_NEW_PRIVS = 38
_SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"


def make_user(name: str, group: str, socket: Path) -> bool:
    """The user and the group where they are not there yet, and the group's way to safekitd. Whether the user is new.
    One that is called as the group has it as its first: it is the console. ConfigError when who asks is not root."""
    if os.geteuid() != 0:
        raise ConfigError("only root can make a user", hint="use sudo")
    if not _exists(grp.getgrnam, group):
        _run("groupadd", "--system", group)
    is_new = not _exists(pwd.getpwnam, name)
    if is_new:
        groups = ("--gid", group) if name == group else ("--user-group", "--groups", group)
        _run("useradd", "--system", *groups, "--no-create-home", "--shell", "/usr/sbin/nologin", name)
    elif name != group and name not in grp.getgrnam(group).gr_mem:
        _run("usermod", "--append", "--groups", group, name)
    if socket.exists():
        open_to_group(socket, grp.getgrnam(group).gr_gid)
    return is_new


def become_user(name: str, group: str, var: Path | None = None, *, setup: str) -> None:
    """Become this user, of its own group and the one that may reach safekitd, for ever; `var` is made its own. No core
    file shows what it knows. ConfigError, with the command `setup`, when there is no such user; as who is not root only
    the core file goes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # else newgrp made the door's group its first one
    if os.geteuid() != 0:
        return
    try:
        user, door = pwd.getpwnam(name), grp.getgrnam(group)
    except KeyError:
        raise ConfigError(f"there is no user '{name}' or no group '{group}'", hint=f"`{setup}` makes them") from None
    if var is not None:
        var.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chown(var, user.pw_uid, user.pw_gid)
        var.chmod(0o700)
    os.setgroups([door.gr_gid])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = str(var) if var is not None else "/"


def _exists(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program, path=_SBIN)
    if found is None:
        raise ConfigError(f"there is no {program} on this node", hint="make the system user by hand")
    subprocess.run([found, *arguments], check=True)
