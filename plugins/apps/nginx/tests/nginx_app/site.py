"""Where a test's nginx has its files, and how its clients ask."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIGURATION = """user www-data;
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{ listen 127.0.0.1:{port}; root {place}/pages; }}
}}
{more}
"""


@dataclass
class Site:
    place: Path
    port: int

    @property
    def file(self) -> Path:
        return self.place / "nginx.conf"

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
