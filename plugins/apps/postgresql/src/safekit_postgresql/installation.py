"""What of a PostgreSQL cluster is on this machine: its programs, its settings, and the directories of its data."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_postgresql.config import PostgresqlConfig
from safekit_sdk import ConfigError
from safekit_sdk.installed import CLEAN
from safekit_sdk.process import run

_PLACES: Final = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin", "/usr/local/pgsql/bin", "/usr/bin")
_ASK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Installation:
    config: PostgresqlConfig
    programs: Path

    @property
    def version(self) -> str:
        return version(self.config.data)

    @property
    def server(self) -> list[str]:
        own = ["-c", f"config_file={self.config.config}"] if self.config.config else []
        return [str(self.programs / "postgres"), "-D", str(self.config.data), *own]

    def setting(self, name: str) -> str:
        """As the server would have it. ConfigError with PostgreSQL's own words, which name file and line, when the
        configuration has errors. For where nothing asynchronous may be."""
        return ask([*self.server, "-C", name], self.config.user)

    async def setting_async(self, name: str) -> str:
        """The same; a cancellation leaves nothing that runs."""
        argv = [*self.server, "-C", name]
        around: dict[str, Any] = {"env": CLEAN, "cwd": Path("/"), "user": self.config.user, "errors_apart": True}
        done = await run(argv, timeout_s=_ASK_S, **around)
        return _answer(done.returncode, done.output, done.errors)


def ask(argv: list[str], user: str) -> str:
    """What a program prints that a user runs for an instant."""
    try:
        entry = pwd.getpwnam(user)
        done = subprocess.run(
            argv,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=os.getgrouplist(user, entry.pw_gid),
            env=CLEAN,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_S,
            check=False,
        )
    except KeyError:
        raise ConfigError(f"there is no user '{user}'", hint="install PostgreSQL, or correct `user:`") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{argv[0]} cannot be asked: {error}") from error
    said, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return _answer(done.returncode, said, errors)


def _answer(returncode: int, said: str, errors: str) -> str:
    if returncode != 0:
        words = " | ".join(errors.splitlines()[-5:])
        raise ConfigError(f"the configuration of PostgreSQL has errors: {words}", hint="correct it on this node")
    return said.strip()


def version(data: Path) -> str:
    """Of the data: `15`, or `9.6`. ConfigError when the directory is none of PostgreSQL's."""
    try:
        return (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{data} is not a data directory of PostgreSQL: it has no file PG_VERSION",
            hint="correct `data:`; if it is replicated, the node that has it is another one, or the data path is down",
        ) from None


def find(config: PostgresqlConfig) -> Installation:
    """ConfigError that says what to install."""
    wanted = version(config.data)
    places = [str(config.programs)] if config.programs else [place.format(wanted) for place in _PLACES]
    for place in places:
        if all(shutil.which(name, path=place) for name in ("postgres", "psql")):
            return Installation(config, Path(place))
    raise ConfigError(
        f"no programs of PostgreSQL {wanted}: postgres and psql are not in {', '.join(places)}",
        hint=f"`apt-get install postgresql-{wanted}`, or say where they are with `programs:`",
    )


def locations(data: Path) -> Mapping[str, Path]:
    """Where data are outside the data directory, by what they are: `wal`, `tablespace-16385`."""
    found = {}
    wal = data / "pg_wal"
    if wal.is_symlink():
        found["wal"] = Path(os.path.realpath(wal))
    with contextlib.suppress(OSError):
        for link in sorted((data / "pg_tblspc").iterdir()):
            if link.is_symlink():
                found[f"tablespace-{link.name}"] = Path(os.path.realpath(link))
    here = Path(os.path.realpath(data))
    return {name: place for name, place in found.items() if not place.is_relative_to(here)}
