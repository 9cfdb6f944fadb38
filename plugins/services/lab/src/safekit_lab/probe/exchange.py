"""One request on a connection of its own, on plain non-blocking sockets."""

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..error import LabError

_MAX_ANSWER_BYTES = 64 * 1024
_MAX_NAME_CHARS = 80
_DEFAULT_PORTS = {"http": 80}
Address = tuple[str | int | bytes, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to and what to send; request is empty where the server speaks first."""

    family: socket.AddressFamily
    address: Address
    request: bytes
    server_header: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int | None
    server: str | None


class BadAnswerError(Exception):
    """The first argument is the kind of error of a Record, the second the HTTP status if there was one."""

    def __init__(self, kind: str, status: int | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status


def resolve(url: str, server_header: str | None) -> Target:
    """A name's first address is taken, IPv4 before IPv6; for IPv6 write http://[ADDRESS]/.

    LabError for what is no http:// or tcp:// address, or a name that the client does not know.
    """
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if parts.scheme not in ("http", "tcp") or parts.hostname is None or port is None:
        raise LabError(f"{url!r} cannot be probed; write http://HOST[:PORT]/PATH or tcp://HOST:PORT")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise LabError(f"{parts.hostname}: {error.strerror}") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode()  # 1.0: no chunks, no keep-alive
    header = server_header.lower().encode() if server_header else None
    return Target(family, address, request if parts.scheme == "http" else b"", header)


async def connect(target: Target, connection: socket.socket) -> None:
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, target.address)


async def converse(target: Target, connection: socket.socket) -> Answer:
    """BadAnswerError for an answer that came, but is none."""
    if not target.request:
        greeting = await _read_until(connection, b"\n")
        return Answer(None, _name(greeting))
    await asyncio.get_running_loop().sock_sendall(connection, target.request)
    head, _, body = (await _read_until(connection, b"\r\n\r\n")).partition(b"\r\n\r\n")
    status, headers = _parse_head(head)
    body = await _read_body(connection, body, headers)
    if status >= 400:
        raise BadAnswerError("status", status)
    name = headers.get(target.server_header, b"") if target.server_header else body
    return Answer(status, _name(name))


async def _read_body(connection: socket.socket, body: bytes, headers: dict[bytes, bytes]) -> bytes:
    """A body of a known length must be whole; any other ends with the connection."""
    length = headers.get(b"content-length")
    if length is None:
        return await _read_to_end(connection, body)
    missing = int(length) - len(body)
    while missing > 0:
        part = await _read(connection)
        missing -= len(part)
        body = (body + part)[:_MAX_ANSWER_BYTES]
    return body


async def _read_to_end(connection: socket.socket, data: bytes) -> bytes:
    while part := await asyncio.get_running_loop().sock_recv(connection, _MAX_ANSWER_BYTES):
        data = (data + part)[:_MAX_ANSWER_BYTES]
    return data


async def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        data += await _read(connection)
        if len(data) > _MAX_ANSWER_BYTES:
            raise BadAnswerError("malformed")
    return data


async def _read(connection: socket.socket) -> bytes:
    part = await asyncio.get_running_loop().sock_recv(connection, _MAX_ANSWER_BYTES)
    if not part:
        raise BadAnswerError("closed")
    return part


def _parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    try:
        status = int(first.split(b" ")[1])
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(b":", 1) for line in lines)}
        int(headers.get(b"content-length", b"0"))
    except (ValueError, IndexError) as error:
        raise BadAnswerError("malformed") from error
    return status, headers


def _name(text: bytes) -> str | None:
    first = text.lstrip().split(b"\n", 1)[0].strip().decode(errors="replace")
    return first[:_MAX_NAME_CHARS] or None
