"""A real MariaDB of the test's own, copied from one that is made once."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "mysql"
SETTINGS = """[mariadbd]
datadir = {place}/data
socket = {place}/socket
pid-file = {place}/data/server.pid
skip-networking
innodb-buffer-pool-size = 8M
innodb-log-file-size = 4M
max-connections = 10
{more}
"""


@dataclass
class Database:
    place: Path
    """A short path: that of a socket is limited to 107 bytes."""

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def file(self) -> Path:
        return self.place / "server.cnf"

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "config": str(self.file),
            "interval": "100ms",
            "fall": 2,
            "start_timeout": "60s",
            "stop_timeout": "20s",
        }

    def write(self, more: str = "") -> None:
        self.file.write_text(SETTINGS.format(place=self.place, more=more))

    def sql(self, query: str) -> str:
        """As a client; the empty text when it is not answered."""
        argv = ["mariadb", "--no-defaults", "-BN", f"--socket={self.place}/socket", "-e", query]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip()


def make_template(place: Path) -> Path:
    shutil.chown(place, USER, USER)
    argv = ["mariadb-install-db", "--no-defaults", f"--datadir={place}/data", f"--user={USER}", "--skip-test-db"]
    subprocess.run([*argv, "--innodb-log-file-size=4M"], check=True, capture_output=True, cwd="/", timeout=60)
    return place / "data"


def copy(template: Path, place: Path) -> Database:
    subprocess.run(["cp", "-a", str(template), str(place / "data")], check=True)
    shutil.chown(place, USER, USER)
    made = Database(place)
    made.write()
    return made
