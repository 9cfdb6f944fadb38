"""A real Redis of the test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "redis"
SETTINGS = """port {port}
dir {place}/data
unixsocket {place}/socket
{more}
"""


@dataclass
class Database:
    place: Path
    """A short path: that of a socket is limited to 107 bytes."""
    port: int

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def file(self) -> Path:
        return self.place / "redis.conf"

    @property
    def settings(self) -> dict[str, Any]:
        limits = {"start_timeout": "30s", "stop_timeout": "10s"}
        return {"config": str(self.file), "interval": "100ms", "fall": 2, **limits}

    def write(self, more: str = "") -> None:
        self.file.write_text(SETTINGS.format(place=self.place, port=self.port, more=more))

    def cli(self, *words: str, password: str = "") -> str:
        """As a client."""
        argv = ["redis-cli", "-s", f"{self.place}/socket", *words]
        around: dict[str, Any] = {"env": {"PATH": "/usr/bin", "REDISCLI_AUTH": password}, "timeout": 20}
        return subprocess.run(argv, capture_output=True, text=True, check=False, **around).stdout.strip()


def make(place: Path) -> Database:
    (place / "data").mkdir()
    for path in (place, place / "data"):
        shutil.chown(path, USER, USER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Database(place, free.getsockname()[1])
    made.write()
    return made
