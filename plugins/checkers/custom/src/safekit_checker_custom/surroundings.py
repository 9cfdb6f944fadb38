"""What a program of a checker finds around it."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from safekit_sdk import Context

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INHERITED = ("LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL")


def environment(context: Context, user: str | None) -> dict[str, str]:
    """A clean one, the same at boot as from a terminal, with SafeKit's names and the module's variables."""
    binaries = Path(sys.executable).parent
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        **_of_account(user),
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
    return f"{Path(sys.executable).parent}:{own or os.environ.get('PATH') or _DEFAULT_PATH}"


def _of_account(user: str | None) -> dict[str, str]:
    """Nothing for a user that there is not: starting the program says so."""
    try:
        entry = pwd.getpwnam(user) if user else None
    except KeyError:
        entry = None
    if entry is None:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
