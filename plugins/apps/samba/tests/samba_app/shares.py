"""A real Samba of the test's own, with one share for everybody."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = """[global]
smb ports = {port}
interfaces = lo
bind interfaces only = yes
map to guest = Bad User
disable netbios = yes
load printers = no
printing = bsd
state directory = {place}/state
cache directory = {place}/state
private dir = {place}/state/private
{more}
[data]
path = {place}/data
guest ok = yes
read only = no
force user = root
"""


@dataclass
class Shares:
    place: Path
    port: int

    @property
    def file(self) -> Path:
        return self.place / "smb.conf"

    @property
    def settings(self) -> dict[str, Any]:
        limits = {"start_timeout": "30s", "stop_timeout": "10s"}
        return {"config": str(self.file), "share": "data", "interval": "200ms", "fall": 2, **limits}

    def write(self, more: str = "") -> None:
        self.file.write_text(SETTINGS.format(place=self.place, port=self.port, more=more))

    def client(self, command: str) -> subprocess.CompletedProcess[str]:
        argv = ["smbclient", "-N", "-s", "/dev/null", "-p", str(self.port), "//127.0.0.1/data", "-c", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)


def make(place: Path) -> Shares:
    for name in ("data", "state", "state/private"):
        (place / name).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Shares(place, free.getsockname()[1])
    made.write()
    return made
