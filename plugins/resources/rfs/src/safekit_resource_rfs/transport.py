"""How the two data paths find each other: the secondary connects, the primary listens, and each side is pinned to the
other's key."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from safekit_resource_rfs.connection import HANDSHAKE_S, Link, secure
from safekit_resource_rfs.keys import Identity
from safekit_sdk import ConfigError

MAX_STRANGERS: Final = 32
"""Connections that have not proved the other node's key yet."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
RETRY_FIRST_S: Final = 0.1
RETRY_LAST_S: Final = 2.0
ESTABLISHED_BACKLOG: Final = 16


Accepted = Callable[[Link], None]


class _Stranger:
    """A connection that has not proved the other node's key."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.has_spoken = False
        self.task: asyncio.Task[None] | None = None

    def heard(self) -> None:
        self.has_spoken = True

    def dismiss(self) -> None:
        if self.task:
            self.task.cancel()


class Listener:
    """Listens from its making on; lets nobody in while `peer` is unknown or `wanted` says no.

    When there are too many strangers, a further one takes the place of another: of the address that has most, the
    first that said nothing, else the first. So the other node, which speaks at once, has its place whatever others do
    from elsewhere."""

    def __init__(
        self,
        identity: Identity,
        addresses: Sequence[str],
        port: int,
        wanted: Callable[[], bool],
        accepted: Accepted,
        timeout_s: float,
        descriptors: Sequence[int] = (),
    ) -> None:
        """`descriptors`: of sockets that listen already, from another program."""
        self._loop = asyncio.get_running_loop()
        self._identity = identity
        self._wanted = wanted
        self._accepted = accepted
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | None = None
        self._strangers: list[_Stranger] = []
        """Who came first is first."""
        self._sockets = [socket.socket(fileno=fd) for fd in descriptors] or _listen(addresses, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.refused_count = 0
        self._resumption: asyncio.TimerHandle | None = None
        self._resume()

    def _resume(self) -> None:
        self._resumption = None
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self) -> None:
        """There are no descriptors left; whoever waits would be told of again and again."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
        self._resumption = self._loop.call_later(RETRY_FIRST_S, self._resume)

    @property
    def is_pausing(self) -> bool:
        return self._resumption is not None

    @property
    def descriptors(self) -> list[int]:
        return [listening.fileno() for listening in self._sockets]

    def hold_back(self) -> None:
        """Whoever connects waits for another program."""
        if self._resumption:
            self._resumption.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
        for stranger in self._strangers:
            stranger.dismiss()

    def trust(self, peer: bytes) -> None:
        self._context = self._identity.context(peer, server=True)

    def close(self) -> None:
        if self._resumption:
            self._resumption.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        for stranger in self._strangers:
            stranger.dismiss()

    def _accept(self, listening: socket.socket) -> None:
        try:
            stream, address = listening.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED and not self._resumption:
                self._pause()
            return
        if self._context is None or not self._wanted():
            self.refused_count += 1
            stream.close()
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._displace()
        stream.setblocking(False)
        stranger = _Stranger(str(address[0]))
        self._strangers.append(stranger)
        stranger.task = self._loop.create_task(self._greet(stream, stranger, self._context))
        stranger.task.add_done_callback(lambda _: self._forget(stranger))

    def _displace(self) -> None:
        counts = Counter(stranger.address for stranger in self._strangers)
        address, _ = counts.most_common(1)[0]
        crowd = [stranger for stranger in self._strangers if stranger.address == address]
        displaced = next((stranger for stranger in crowd if not stranger.has_spoken), crowd[0])
        displaced.dismiss()
        self._forget(displaced)
        self.refused_count += 1

    def _forget(self, stranger: _Stranger) -> None:
        if stranger in self._strangers:
            self._strangers.remove(stranger)

    async def _greet(self, stream: socket.socket, stranger: _Stranger, context: ssl.SSLContext) -> None:
        try:
            link = await secure(stream, context, stranger.address, self._timeout_s, stranger.heard, server=True)
        except (OSError, TimeoutError):
            self.refused_count += 1
            return
        if self._wanted():
            self._accepted(link)
        else:
            link.close()


def _listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """One port on all of them. ConfigError when it cannot be had."""
    made: list[socket.socket] = []
    try:
        for address in addresses or ("",):
            made.append(_listen_on(address, port or (made[0].getsockname()[1] if made else 0)))
    except OSError as error:
        for one in made:
            one.close()
        where = f"{address or 'any address'} port {port}"
        raise ConfigError(
            f"rfs cannot listen on {where}: {error.strerror or error}",
            hint="another program may have the port; choose another with `port:`, or 0 for any",
        ) from error
    return made


def _listen_on(address: str, port: int) -> socket.socket:
    is_any = not address
    family = socket.AF_INET6 if (is_any and socket.has_ipv6) or ":" in address else socket.AF_INET
    try:
        listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:
        if not is_any:
            raise
        family, listening = socket.AF_INET, socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_any else 1)
        listening.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
        listening.listen(ESTABLISHED_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class Dialer:
    """Connects to the first of the addresses that answers, again and again while it is on, one connection at a time."""

    def __init__(self, identity: Identity, accepted: Accepted, timeout_s: float) -> None:
        self._identity = identity
        self._accepted = accepted
        self._timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self.why_not = ""
        """What the last attempt failed with."""

    def dial(self, addresses: Sequence[tuple[str, int]], peer: bytes) -> None:
        """From now on, instead of what was dialled before."""
        self.stop()
        self._idle.set()
        context = self._identity.context(peer, server=False)
        self._task = asyncio.get_running_loop().create_task(self._run(tuple(addresses), context))

    def released(self) -> None:
        """The connection that was handed over is gone: another is made."""
        self._idle.set()

    def stop(self) -> None:
        if self._task:
            self._task.cancel()
            self._task = None

    async def _run(self, addresses: tuple[tuple[str, int], ...], context: ssl.SSLContext) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            await self._idle.wait()
            link = await self._first(addresses, context)
            if link:
                self._idle.clear()
                pause_s = RETRY_FIRST_S
                self.why_not = ""
                self._accepted(link)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, RETRY_LAST_S)

    async def _first(self, addresses: tuple[tuple[str, int], ...], context: ssl.SSLContext) -> Link | None:
        for host, port in addresses:
            try:
                return await self._connect(host, port, context)
            except TimeoutError:
                self.why_not = f"{host} port {port} does not answer"
            except OSError as error:
                self.why_not = f"{host} port {port}: {error.strerror or error}"
        return None

    async def _connect(self, host: str, port: int, context: ssl.SSLContext) -> Link:
        loop = asyncio.get_running_loop()
        family, kind, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
        stream = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        stream.setblocking(False)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await loop.sock_connect(stream, address)
        except BaseException:
            stream.close()
            raise
        return await secure(stream, context, host, self._timeout_s, lambda: None, server=False)
