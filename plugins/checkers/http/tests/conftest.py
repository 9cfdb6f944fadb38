"""Servers on loopback: one that answers whatever bytes a test wants, plain or with TLS, and a real Apache."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Answer = Callable[[asyncio.StreamWriter, bytes], Any]


@dataclass
class Server:
    port: int
    scheme: str
    host: str
    questions: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/"


@asynccontextmanager
async def _serving(
    answer: Answer | bytes, tls: ssl.SSLContext | None = None, *, at: str = "127.0.0.1", socket_path: Path | None = None
) -> AsyncIterator[Server]:
    """`answer` is the bytes of the answer, or is called with the writer and the question's head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            made.questions.append(head)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer, head)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    if socket_path is not None:
        server: asyncio.Server = await asyncio.start_unix_server(serve, socket_path)
    else:
        server = await asyncio.start_server(serve, at, 0, ssl=tls)
    port = 80 if socket_path else server.sockets[0].getsockname()[1]
    made = Server(port, "https" if tls else "http", f"[{at}]" if ":" in at else at)
    try:
        yield made
    finally:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "serve" in repr(task.get_coro()):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def serving() -> Any:
    return _serving


@dataclass(frozen=True)
class Authority:
    """Certificates of the test's own."""

    place: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.place / "authority.pem"

    def context(self, *names: str, days: float = 30, asks_clients: bool = False) -> ssl.SSLContext:
        """A server's, with a certificate for these names or addresses that expires in so many days."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(self.certified(*names, days=days))
        if asks_clients:
            made.load_verify_locations(self.file)
            made.verify_mode = ssl.CERT_REQUIRED
        return made

    def certified(self, *names: str, days: float = 30) -> Path:
        """A file with a key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
        certificate = (
            _builder("server", days, key)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.place / f"server-{os.urandom(4).hex()}.pem"
        path.write_bytes(_pem(certificate, key))
        return path


def _builder(name: str, days: float, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("authority", 90, key)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Authority(tmp_path, key, certificate)
    made.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


APACHE = """
ServerRoot {root}
PidFile {root}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ServerName localhost
ErrorLog {root}/error.log
User www-data
Group www-data
"""


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real Apache without pages (it answers 404): its process group and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "apache.conf"
    configuration.write_text(APACHE.format(root=tmp_path, port=port))
    process = subprocess.Popen(["/usr/sbin/apache2", "-f", str(configuration), "-DFOREGROUND"], start_new_session=True)
    try:
        for _ in range(500):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield process.pid, port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
