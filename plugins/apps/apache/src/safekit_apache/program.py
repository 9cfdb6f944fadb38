"""Where Apache is on this machine, and how it is called there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_apache.config import ApacheConfig
from safekit_sdk import ConfigError
from safekit_sdk.process import run

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CONTROL_S: Final = 10.0


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
    if config.program is not None:
        if not config.program.is_file():
            raise ConfigError(f"{config.program} is not there", hint="correct `program:`, or leave it out")
        path = config.program
    else:
        found = shutil.which("apache2", path=PATH) or shutil.which("httpd", path=PATH)
        if found is None:
            raise ConfigError(
                "Apache is not installed on this node", hint="`apt-get install apache2`, or `dnf install httpd`"
            )
        path = Path(found)
    control = shutil.which("apache2ctl", path=PATH) if path.name == "apache2" else None
    if config.config is not None and not config.config.is_file():
        raise ConfigError(f"{config.config} is not there", hint="correct `config:`; each node needs the file")
    return Program(path, Path(control) if control else None)


async def environment(program: Program, given: dict[str, str]) -> dict[str, str]:
    """What Apache is started with. Debian keeps a part of Apache's configuration in a shell file that only its
    control script reads, which also makes the directories that a reboot removes: the script is told that Apache is
    `env`, and prints it."""
    base = {"PATH": PATH, "LANG": "C", **given}
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
