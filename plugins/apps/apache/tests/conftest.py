"""A real Apache with a configuration of the test's own."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = """ServerRoot {place}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {place}/apache.pid
ErrorLog {place}/error.log
DefaultRuntimeDir {place}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DocumentRoot {place}/pages
StartServers 1
User www-data
Group www-data
{more}
"""


@dataclass
class Site:
    place: Path
    port: int

    @property
    def file(self) -> Path:
        return self.place / "httpd.conf"

    @property
    def settings(self) -> dict[str, Any]:
        return {"config": str(self.file), "port": self.port, "graceful": "2s"}

    def write(self, more: str = "") -> None:
        self.file.write_text(CONFIGURATION.format(place=self.place, port=self.port, more=more))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)

    def answers(self) -> bool:
        connection = self.connect()
        try:
            connection.request("GET", "/index.html")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Pages below a folder that Apache's own user can read, and a free port."""
    place = tmp_path / "site"
    (place / "pages").mkdir(parents=True)
    (place / "pages" / "index.html").write_text("here\n")
    for folder in (place, *place.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Site(place, free.getsockname()[1])
    made.write()
    return made
