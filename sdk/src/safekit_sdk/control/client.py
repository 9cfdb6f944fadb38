"""Clients of the control socket: one connection for each call, which ends with its answer or its time."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safekit_sdk.control.door import socket_address
from safekit_sdk.control.frames import HEAD, frame, length, read_frame
from safekit_sdk.control.messages import ANSWER, MAX_CALL_BYTES, Call, decode, encode, raise_body
from safekit_sdk.errors import ConfigError, PeerError

MAX_NAME = 120
_IDS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, and from where: both are in the journal with what was done."""

    name: str = ""
    origin: str = ""

    def __str__(self) -> str:
        name, origin = self.name[:MAX_NAME], self.origin[:MAX_NAME]
        return f"{name} ({origin})" if origin else name


class ControlClient:
    """Blocking calls, for the command line."""

    def __init__(self, path: Path, operator: Operator = Operator()) -> None:
        self._path = path
        self._operator = operator

    def call(self, op: str, args: dict[str, Any] | None = None, *, timeout_s: float = 30.0) -> Any:
        """Return the daemon's result. PeerError when no daemon runs here, TimeoutError, or the daemon's own error."""
        call = _call(op, args, self._operator)
        deadline_s = time.monotonic() + max(timeout_s, 0.001)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            try:
                _until(link, deadline_s)
                link.connect(socket_address(self._path))
                link.sendall(frame(encode(call)))
                data = _exactly(link, length(_exactly(link, HEAD.size, deadline_s)), deadline_s)
            except TimeoutError:
                raise _too_late(op, timeout_s) from None
            except OSError as error:
                raise _unreachable(self._path, error) from None
        return _result(data)


class AsyncControlClient:
    """The same for a program with a loop. `call` may be cancelled, and many may be under way."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def call(
        self, op: str, args: dict[str, Any] | None = None, *, operator: Operator = Operator(), timeout_s: float = 30.0
    ) -> Any:
        call = _call(op, args, operator)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(socket_address(self._path))
                try:
                    writer.write(frame(encode(call)))
                    await writer.drain()
                    data = await read_frame(reader)
                finally:
                    writer.close()
        except TimeoutError:
            raise _too_late(op, timeout_s) from None
        except OSError as error:
            raise _unreachable(self._path, error) from None
        except asyncio.IncompleteReadError:
            raise _hung_up() from None
        return _result(data)


def _call(op: str, args: dict[str, Any] | None, operator: Operator) -> Call:
    return Call(id=f"{os.getpid()}-{next(_IDS)}", op=op, args=args or {}, by=str(operator))


def _result(data: bytes) -> Any:
    answer = decode(ANSWER, data, MAX_CALL_BYTES)
    if answer.error is not None:
        raise_body(answer.error)
    return answer.result


def _until(link: socket.socket, deadline_s: float) -> None:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    link.settimeout(left_s)


def _exactly(link: socket.socket, size: int, deadline_s: float) -> bytes:
    parts: list[bytes] = []
    while size:
        _until(link, deadline_s)
        part = link.recv(min(size, 1 << 20))
        if not part:
            raise _hung_up()
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _too_late(op: str, timeout_s: float) -> TimeoutError:
    return TimeoutError(f"the daemon did not answer '{op}' within {timeout_s:g} s")


def _hung_up() -> PeerError:
    return PeerError("safekitd ended before it answered", hint="`safekit daemon status`")


def _unreachable(path: Path, error: OSError) -> Exception:
    if isinstance(error, PermissionError):
        return ConfigError("only root may talk to safekitd", hint="use sudo")
    return PeerError(
        f"no safekitd runs on this node (socket {path}: {error.strerror})", hint="start it with `safekit daemon start`"
    )
