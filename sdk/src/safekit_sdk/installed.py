"""What of an application is installed on this machine: its program, and who else starts it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from safekit_sdk.errors import ConfigError
from safekit_sdk.surroundings import DEFAULT_PATH

PATH: Final = DEFAULT_PATH
"""Where programs are looked for, whatever the environment of this process says."""
CLEAN: Final = {"PATH": PATH, "LANG": "C"}
"""What a program is asked with, so that it answers the same everywhere."""
_SYSTEMD_RUNS: Final = Path("/run/systemd/system")
_WANTED: Final = Path("/etc/systemd/system/multi-user.target.wants")


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{path}' is not an absolute path without '..'; begin it with /")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


def refuse_missing(**files: Path | None) -> None:
    """ConfigError for the first file that is not there, named by its setting."""
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise ConfigError(f"{path} is not there", hint=f"correct `{name}:`, or leave it out")


def find_program(given: Path | None, *names: str, packages: str = "") -> Path:
    """The program given, or the first of these names; ConfigError that says what to install."""
    refuse_missing(program=given)
    found = given or next((path for name in names if (path := shutil.which(name, path=PATH))), None)
    if found is None:
        install = f"`apt-get install {packages or names[0]}`"
        raise ConfigError(f"{' or '.join(names)} is not installed on this node", hint=install)
    return Path(found)


def started_by_systemd(*units: str) -> list[str]:
    """A finding for each unit that systemd starts by itself."""
    enabled = [unit for unit in units if _SYSTEMD_RUNS.is_dir() and (_WANTED / f"{unit}.service").is_symlink()]
    return [
        f"systemd starts {unit}.service by itself; `systemctl disable --now {unit}` leaves it to safekit"
        for unit in enabled
    ]


def sentence(error: ConfigError) -> str:
    """An error as a finding of `safekit plan`."""
    return f"{error.message}; {error.hint}" if error.hint else error.message
