"""Answers Prometheus by HTTP, or by HTTPS to who knows the token. Few at once, each within its time."""

from __future__ import annotations

import contextlib
import hmac
import socket
import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from safekit_metrics.collector import Exporter
from safekit_metrics.settings import MetricsSettings
from safekit_sdk import ConfigError

AT_ONCE: Final = 8
PATIENCE_S: Final = 10.0
"""For each piece of a request to come, and of its answer to be taken."""
LONGEST_S: Final = 30.0
"""For all of it: who says a letter now and then holds no place for ever."""
SHORTEST_TOKEN: Final = 16
PAGE: Final = b"safekit metrics: /metrics\n"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    longest_s = LONGEST_S

    def __init__(self, exporter: Exporter, settings: MetricsSettings, guard: Guard) -> None:
        self.exporter = exporter
        self.guard = guard
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
        super().__init__((settings.address, settings.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the request's own thread: a handshake that never ends holds up nobody else."""
        request.settimeout(PATIENCE_S)
        with request.dup() as wire:
            timer = threading.Timer(self.longest_s, _hang_up, (wire,))
            timer.daemon = True
            timer.start()
            try:
                self._talk(request, client_address)
            finally:
                timer.cancel()
                timer.join()

    def _talk(self, request: Any, client_address: Any) -> None:
        if self.guard.tls is None:
            super().finish_request(request, client_address)
            return
        with self.guard.tls.wrap_socket(request, server_side=True) as talk:
            super().finish_request(talk, client_address)
            talk.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up, or speaks no TLS, is nobody's trouble but its own."""


def _hang_up(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


class Guard:
    """What a caller from elsewhere has to have. ConfigError when that would be nothing."""

    def __init__(self, settings: MetricsSettings) -> None:
        given = (settings.certificate, settings.key, settings.token)
        if not settings.is_local and None in given:
            raise ConfigError(
                f"the address {settings.address} is for others too, and that needs TLS and a token",
                hint="set SAFEKIT_METRICS_CERTIFICATE, SAFEKIT_METRICS_KEY and SAFEKIT_METRICS_TOKEN",
            )
        if (settings.certificate is None) is not (settings.key is None):
            raise ConfigError("a certificate needs its key", hint="set SAFEKIT_METRICS_CERTIFICATE and _KEY")
        self.token = _token(settings.token) if settings.token else ""
        self.tls = _context(settings.certificate, settings.key) if settings.certificate and settings.key else None

    def admits(self, authorization: str) -> bool:
        return not self.token or hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())


def _token(path: Path) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token cannot be read: {error}", where=str(path)) from None
    if mode & 0o077:
        raise ConfigError("the token can be read by others", where=str(path), hint=f"chmod 600 {path}")
    if len(text) < SHORTEST_TOKEN or not text.isascii():
        raise ConfigError(
            f"the token is shorter than {SHORTEST_TOKEN} characters, or not ASCII",
            where=str(path),
            hint=f"openssl rand -hex 24 > {path}",
        )
    return text


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificate or its key cannot be used: {error}", where=str(certificate)) from None
    return context


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "safekit-metrics", ""

    def do_GET(self) -> None:
        if not self.server.guard.admits(self.headers.get("Authorization", "")):
            self._answer(HTTPStatus.UNAUTHORIZED, b"a token is needed\n", "text/plain")
        elif self.path.partition("?")[0] == "/metrics":
            self._answer(HTTPStatus.OK, self.server.exporter.text(), CONTENT_TYPE_LATEST)
        elif self.path == "/":
            self._answer(HTTPStatus.OK, PAGE, "text/plain")
        else:
            self._answer(HTTPStatus.NOT_FOUND, PAGE, "text/plain")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a hook of the standard library
        """Nothing: a scrape each few seconds is no news."""
