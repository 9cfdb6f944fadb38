"""Real receivers on loopback: a mail server, a web server, Debian's snmptrapd."""

from __future__ import annotations

import json
import queue
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
CONF = """\
createUser trial SHA-256 authauth AES privpriv
authUser log trial priv
authCommunity log hushhush
"""


class _Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs."""

    def handle(self) -> None:
        self._say("220 trial")
        while line := self.rfile.readline(1000):
            word = line[:4].upper()
            if word == b"DATA":
                self._say("354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                self.server.got.put(b"".join(lines).decode())  # type: ignore[attr-defined]
            self._say("221 bye" if word == b"QUIT" else "250 ok")
            if word == b"QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Web(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refusals: list[int] = self.server.refusals  # type: ignore[attr-defined]
        status = refusals.pop(0) if refusals else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if status == 200:
            self.server.got.put(json.loads(body))  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a hook of the standard library
        """Nothing."""


@contextmanager
def _served(server: Any) -> Iterator[queue.Queue[Any]]:
    server.got = queue.Queue()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[int, queue.Queue[str]]]:
    server = socketserver.TCPServer(("127.0.0.1", 0), _Mail)
    with _served(server) as got:
        yield server.server_address[1], got


@contextmanager
def web_server(*refusals: int) -> Iterator[tuple[int, queue.Queue[dict[str, Any]]]]:
    """It answers with these first."""
    server = HTTPServer(("127.0.0.1", 0), _Web)
    server.refusals = list(refusals)  # type: ignore[attr-defined]
    with _served(server) as got:
        yield server.server_address[1], got


@contextmanager
def trap_receiver(directory: Path) -> Iterator[tuple[int, queue.Queue[str]]]:
    """Its port, and the lines that it prints."""
    conf = directory / "snmptrapd.conf"
    conf.write_text(CONF)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["snmptrapd", "-f", "-Lo", "-On", "-m", "", "-C", "-c", str(conf), "-p", str(directory / "pid")]
    state = {"SNMP_PERSISTENT_DIR": str(directory / "trapd"), "PATH": "/usr/sbin:/usr/bin"}
    process = subprocess.Popen(
        [*argv, f"udp:127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=state, text=True
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines))
    reader.start()
    try:
        while "NET-SNMP version" not in lines.get(timeout=PATIENCE_S):
            pass
        yield port, lines
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        reader.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
