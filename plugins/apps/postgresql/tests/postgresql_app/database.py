"""A real PostgreSQL cluster of the test's own, copied from one that is made once."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "postgres"
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[4]))
SETTINGS = "listen_addresses = ''\nunix_socket_directories = '{}'\nshared_buffers = 1MB\nmax_connections = 8\n"


@dataclass
class Database:
    place: Path
    """A short path: that of a socket is limited to 107 bytes."""

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def file(self) -> Path:
        return self.data / "postgresql.conf"

    @property
    def settings(self) -> dict[str, Any]:
        return {"data": str(self.data), "interval": "100ms", "fall": 2, "start_timeout": "60s", "stop_timeout": "20s"}

    def write(self, more: str = "") -> None:
        self.file.write_text(SETTINGS.format(self.place) + more)

    def sql(self, query: str) -> str:
        """As a client; the empty text when it is not answered."""
        done = self.start_sql(query)
        return done.communicate(timeout=20)[0].strip()

    def start_sql(self, query: str) -> subprocess.Popen[str]:
        argv = [str(PROGRAMS / "psql"), "-XwAtq", "-h", str(self.place), "-U", USER, "-d", USER, "-c", query]
        quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(argv, env={}, cwd="/", **quiet)


def as_user(argv: list[str]) -> None:
    subprocess.run(argv, user=USER, group=USER, extra_groups=(), check=True, env={}, cwd="/", capture_output=True)


def make_template(place: Path) -> Path:
    shutil.chown(place, USER, USER)
    initdb = [str(PROGRAMS / "initdb"), "-D", str(place / "data"), "-A", "trust", "-E", "UTF8", "--locale", "C"]
    as_user([*initdb, "--no-sync"])
    return place / "data"


def copy(template: Path, place: Path) -> Database:
    subprocess.run(["cp", "-a", str(template), str(place / "data")], check=True)
    shutil.chown(place, USER, USER)
    made = Database(place)
    made.write()
    made.file.chmod(0o644)
    return made
