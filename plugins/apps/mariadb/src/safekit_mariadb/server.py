"""The MariaDB of this machine: its programs, and its settings as it would have them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_mariadb.config import MariadbConfig
from safekit_sdk import ConfigError
from safekit_sdk.installed import CLEAN, find_program, refuse_missing
from safekit_sdk.process import run

_ASK_S: Final = 20.0
_MAX_BYTES: Final = 1 << 20
_NONE: Final = "(No default value)"
_ELSEWHERE: Final = ("innodb-data-home-dir", "innodb-log-group-home-dir", "innodb-undo-directory", "aria-log-dir-path")


@dataclass(frozen=True, slots=True)
class Server:
    config: MariadbConfig
    program: Path
    client: Path
    settings: Mapping[str, str]

    @property
    def argv(self) -> list[str]:
        return [str(self.program), *_defaults(self.config)]

    @property
    def data(self) -> Path:
        return Path(self.settings["datadir"])

    @property
    def socket(self) -> Path:
        return self.data / self.settings["socket"]

    def locations(self) -> Mapping[str, Path]:
        """Where data are outside the data directory, by what they are."""
        found = {name: self.data / self.settings[name] for name in _ELSEWHERE if self.settings.get(name)}
        if self.settings.get("log-bin"):
            found["log-bin"] = (self.data / self.settings["log-bin"]).parent
        found |= {f"database-{link.name}": link.resolve() for link in self._links()}
        here = self.data.resolve()
        return {name: place for name, place in found.items() if not place.resolve().is_relative_to(here)}

    def _links(self) -> list[Path]:
        return sorted(path for path in self.data.iterdir() if path.is_symlink()) if self.data.is_dir() else []

    def losses(self) -> Iterator[str]:
        """Settings that break the promise of a mirror, one sentence each."""
        given = self.settings
        if given.get("innodb-flush-log-at-trx-commit", "1") not in {"1", "3"}:
            yield "innodb_flush_log_at_trx_commit is not 1: a crash of the node can lose acknowledged transactions"
        if given.get("innodb-doublewrite", "TRUE").upper() in {"FALSE", "OFF", "0"}:
            yield "innodb_doublewrite is off: a power cut can damage pages beyond recovery"
        if given.get("innodb-flush-method", "").lower() == "nosync":
            yield "innodb_flush_method is nosync: all data can be lost by a power cut"
        if given.get("log-bin") and given.get("sync-binlog") != "1":
            yield "sync_binlog is not 1: after a crash the binary log can lack transactions that replicas need"


def find(config: MariadbConfig) -> Server:
    """ConfigError that says what to install, or has MariaDB's own words on an error of its configuration. For where
    nothing asynchronous may be."""
    program, client = _programs(config)
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True}
    try:
        done = subprocess.run(_asked(config, program), env=CLEAN, cwd="/", timeout=_ASK_S, check=False, **quiet)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{program} cannot be asked: {error}") from error
    said, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Server(config, program, client, _settings(done.returncode, said, errors))


async def find_async(config: MariadbConfig) -> Server:
    """The same; a cancellation leaves nothing that runs."""
    program, client = _programs(config)
    around: dict[str, Any] = {"env": CLEAN, "cwd": Path("/"), "output_limit_bytes": _MAX_BYTES, "errors_apart": True}
    done = await run(_asked(config, program), timeout_s=_ASK_S, **around)
    return Server(config, program, client, _settings(done.returncode, done.output, done.errors))


def _programs(config: MariadbConfig) -> tuple[Path, Path]:
    refuse_missing(config=config.config, client_config=config.client_config)
    program = find_program(config.program, "mariadbd", packages="mariadb-server")
    return program, find_program(None, "mariadb", packages="mariadb-client")


def _defaults(config: MariadbConfig) -> list[str]:
    return [f"--defaults-file={config.config}"] if config.config else []


def _asked(config: MariadbConfig, program: Path) -> list[str]:
    """Asked for help the server reads its files, and prints its variables in two columns."""
    return [str(program), *_defaults(config), "--verbose", "--help"]


def _settings(returncode: int, said: str, errors: str) -> dict[str, str]:
    lines = errors.splitlines()
    if returncode != 0 or any("[ERROR]" in line and "unknown variable" in line for line in lines):
        words = " | ".join(lines[-5:])
        raise ConfigError(f"the configuration of MariaDB has errors: {words}", hint="correct it on this node")
    _, _, table = said.partition("\n---")
    pairs = (line.split(None, 1) for line in table.splitlines()[1:] if line and not line[0].isspace())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2 and pair[1].strip() != _NONE}
