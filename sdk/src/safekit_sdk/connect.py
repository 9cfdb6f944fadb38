"""Opens a TCP connection, and tells what a failure shows: the other side down, or only this node's own trouble."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

Endpoint = tuple[socket.AddressFamily, Any]

ADDRESSES_MAX = 4
"""Addresses of a name that are tried."""
SEEN_DOWN = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
    }
)
"""Errors that the other side or the network to it causes. All others (no descriptor, no free port, no memory, a
filter of this node) are the checker's own trouble."""


class SilentError(Exception):
    """The other side refused, is unreachable or did not answer in time: it was seen down."""


class OwnTroubleError(Exception):
    """The other side could not be looked at."""


async def connect(host: str, port: int, patience_s: float) -> socket.socket:
    """A connected non-blocking socket. A name has half the time to resolve; its addresses are tried in turn and
    share what is left. SilentError only when every address was seen down."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    endpoints = await _resolve(host, port, patience_s / 2)
    failures: dict[str, SilentError | OwnTroubleError] = {}
    for tried, endpoint in enumerate(endpoints):
        share_s = (deadline_s - loop.time()) / (len(endpoints) - tried)
        try:
            return await _open(endpoint, share_s)
        except SilentError as failure:
            failures[endpoint[1][0]] = failure
        except OSError as error:
            failures[endpoint[1][0]] = explain(error)
    kind = SilentError if all(isinstance(failure, SilentError) for failure in failures.values()) else OwnTroubleError
    raise kind("; ".join(str(failure) if at == host else f"{at} {failure}" for at, failure in failures.items()))


def explain(error: OSError, before: str = "") -> SilentError | OwnTroubleError:
    """What an error of a socket shows, in words."""
    if error.errno is None:
        silent = isinstance(error, TimeoutError)
        return SilentError(f"{before}no answer in time") if silent else OwnTroubleError(f"{before}{error}")
    kind = SilentError if error.errno in SEEN_DOWN else OwnTroubleError
    return kind(before + os.strerror(error.errno).lower())


async def _resolve(host: str, port: int, patience_s: float) -> list[Endpoint]:
    """Never empty. An address is not looked up."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        found = await _look_up(host, port, patience_s)
    endpoints: list[Endpoint] = [(family, address) for family, _, _, _, address in found]
    usable = [endpoint for endpoint in endpoints if _has_family(endpoint)]
    return (usable or endpoints)[:ADDRESSES_MAX]


async def _look_up(host: str, port: int, patience_s: float) -> list[Any]:
    try:
        async with asyncio.timeout(patience_s):
            return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        why = f"no answer from the resolver in {patience_s:.1f} s"
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
    raise OwnTroubleError(f"the name {host} does not resolve ({why}); give an address, or an entry in /etc/hosts")


def _has_family(endpoint: Endpoint) -> bool:
    """False for the ::1 of `localhost` on a node without IPv6. Connecting a datagram socket sends nothing."""
    family, address = endpoint
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


async def _open(endpoint: Endpoint, patience_s: float) -> socket.socket:
    family, address = endpoint
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(patience_s):
            await asyncio.get_running_loop().sock_connect(connection, address)
        if connection.getsockname() == address:
            raise SilentError("nothing listens (the connection met itself)")
    except BaseException:
        connection.close()
        raise
    return connection
