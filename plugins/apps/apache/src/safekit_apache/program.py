"""Where Apache is on this machine, and how it is called there."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_apache.config import ApacheConfig
from safekit_sdk import ConfigError
from safekit_sdk.installed import CLEAN, PATH, find_program, refuse_missing
from safekit_sdk.process import run
from safekit_sdk.procfs import arguments, process_stat

_CONTROL_S: Final = 10.0
_PID_FILE: Final = re.compile(r'^PidFile: "(.+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    path: Path
    control: Path | None
    """Debian's apache2ctl: the only one that knows the variables of its configuration."""

    @property
    def name(self) -> str:
        """What its processes are called."""
        return self.path.name


def find(config: ApacheConfig) -> Program:
    """ConfigError that says what to install when it is not there."""
    refuse_missing(config=config.config)
    path = find_program(config.program, "apache2", "httpd")
    control = shutil.which("apache2ctl", path=PATH) if path.name == "apache2" else None
    return Program(path, Path(control) if control else None)


async def environment(program: Program, given: dict[str, str]) -> dict[str, str]:
    """What Apache is started with. Debian keeps a part of Apache's configuration in a shell file that only its
    control script reads, which also makes the directories that a reboot removes: the script is told that Apache is
    `env`, and prints it."""
    base = {**CLEAN, **given}
    if program.control is None:
        return base
    done = await run(
        [str(program.control), "-0"],
        timeout_s=_CONTROL_S,
        env={**base, "APACHE_HTTPD": "/usr/bin/env", "APACHE_STARTED_BY_SYSTEMD": "1"},
    )
    if not done.ok:
        raise ConfigError(f"{program.control}: {done.why()}", hint="see /etc/apache2/envvars")
    pairs = (entry.partition("=") for entry in done.output.split("\0") if "=" in entry)
    told = {name.strip(): value for name, _, value in pairs}
    return {**told, **base, "LANG": told.get("LANG", "C")}


def forget_dead(settled: str, argv: Sequence[str]) -> None:
    """Apache does not start while the process of its pid file exists, whatever that is by now: one that is dead and
    was not reaped, or another program that was given the number. Unless it is an Apache called like this one, the file
    goes. `settled` is what `-D DUMP_RUN_CFG` says."""
    found = _PID_FILE.search(settled)
    file = Path(found[1]) if found else None
    if file is None or not file.is_file():
        return
    with contextlib.suppress(ValueError):
        if _is_apache(int(file.read_text(encoding="ascii", errors="replace")), argv):
            return
    file.unlink(missing_ok=True)


def _is_apache(pid: int, argv: Sequence[str]) -> bool:
    stat = process_stat(pid)
    return stat is not None and stat.alive and stat.name == Path(argv[0]).name and {*argv[1:]} <= {*arguments(pid)}
