"""What a program that a plugin runs finds around it."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from safekit_sdk.plugin import Context

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INHERITED = ("LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL")


def environment(context: Context, user: str | None) -> dict[str, str]:
    """A clean one, the same at boot as from a terminal, with SafeKit's names and the module's variables. `user` runs
    it; None is who runs this process."""
    binaries = Path(sys.executable).parent
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        **account(user),
        **context.settings,
        "PATH": search_path(context.settings.get("PATH")),
        "SAFE": sys.prefix,
        "SAFEBIN": str(binaries),
        "SAFEMODULE": context.module,
        "SAFEVAR": str(context.run_dir),
        "SAFEUSERVAR": str(context.state_dir),
    }


def search_path(own: str | None = None) -> str:
    """Where programs are looked for."""
    return f"{Path(sys.executable).parent}:{own or os.environ.get('PATH') or DEFAULT_PATH}"


def account(user: str | int | None) -> dict[str, str]:
    """The variables of a user's own, by name or number. Nothing for one that there is not: starting the program says
    so."""
    if user is None:
        return {}
    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
