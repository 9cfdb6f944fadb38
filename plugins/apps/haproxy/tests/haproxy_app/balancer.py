"""A real HAProxy of the test's own, which answers by itself."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = """global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend web
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{said}"
{more}
"""


@dataclass
class Balancer:
    place: Path
    port: int

    @property
    def file(self) -> Path:
        return self.place / "haproxy.cfg"

    @property
    def settings(self) -> dict[str, Any]:
        return {"config": str(self.file), "graceful": "1s", "interval": "100ms"}

    def write(self, said: str = "here", more: str = "") -> None:
        self.file.write_text(SETTINGS.format(port=self.port, said=said, more=more))

    def answer(self) -> str:
        """Empty when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()


def make(place: Path) -> Balancer:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Balancer(place, free.getsockname()[1])
    made.write()
    return made
