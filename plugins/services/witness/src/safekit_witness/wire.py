"""The sockets, and the only module that imports zmq: CURVE both ways, no clear-text mode, everything bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import zmq
import zmq.asyncio
from zmq.utils import z85

from safekit_sdk import ConfigError, PeerError
from safekit_witness.messages import MAX_ANSWER_BYTES, MAX_REQUEST_BYTES

DOMAIN: Final = b"safekit-witness"
QUEUE: Final = 64
"""Messages that wait on one connection, each way; more is not read from it, or dropped on the way back."""
BACKLOG: Final = 128
REBIND_S: Final = 5.0
_ZAP: Final = "inproc://zeromq.zap.01"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Z85, 40 characters each."""

    public: str
    secret: str = field(repr=False)


def key_pair() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def pair_of(secret: str) -> KeyPair:
    """ConfigError when it is no key."""
    try:
        return KeyPair(zmq.curve_public(secret.encode()).decode(), secret)
    except (zmq.ZMQError, ValueError):
        raise ConfigError("this is no secret key", hint="the file is damaged; make a new one") from None


def endpoint(address: str, port: int) -> str:
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def _set(socket: Any, max_bytes: int) -> None:
    """A connection on which nothing is heard for two seconds is dropped, and tried anew every 100 ms."""
    socket.linger = 0
    socket.maxmsgsize = max_bytes
    socket.sndhwm = QUEUE
    socket.rcvhwm = QUEUE
    socket.ipv6 = True
    socket.handshake_ivl = 2000
    socket.heartbeat_ivl = 500
    socket.heartbeat_timeout = 2000


@dataclass(frozen=True, slots=True)
class Received:
    route: bytes
    key: str
    """The public key that the sender proved to have."""
    data: bytes


class Listener:
    """The server's end. Who may connect is asked of `admits`, with the public key."""

    def __init__(self, secret: str, address: str, port: int, admits: Callable[[str], bool]) -> None:
        self._pair = pair_of(secret)
        self._endpoint = endpoint(address, port)
        self._admits = admits
        self._context = zmq.Context()
        self._zap: zmq.Socket[bytes] = self._context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP)
        self._poller = zmq.Poller()
        self._poller.register(self._zap, zmq.POLLIN)
        self._router = self._bound()

    def _bound(self) -> zmq.Socket[bytes]:
        """ConfigError when the address cannot be listened on; what it was before may take a moment to close."""
        give_up_s = time.monotonic() + REBIND_S
        while True:
            socket = self._new()
            try:
                socket.bind(self._endpoint)
            except zmq.ZMQError as error:
                socket.close(0)
                if error.errno != zmq.EADDRINUSE or time.monotonic() > give_up_s:
                    hint = "is the address one of this machine, and the port free?"
                    raise ConfigError(f"cannot listen on {self._endpoint}: {error.strerror}", hint=hint) from None
                time.sleep(0.02)
            else:
                self._poller.register(socket, zmq.POLLIN)
                return socket

    def _new(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        _set(socket, MAX_REQUEST_BYTES)
        socket.backlog = BACKLOG
        socket.curve_secretkey = self._pair.secret.encode()
        socket.curve_publickey = self._pair.public.encode()
        socket.curve_server = True
        socket.zap_domain = DOMAIN
        return socket

    def watch(self, descriptor: int) -> None:
        """Have `wait` return when it can be read."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self, timeout_s: float) -> set[int]:
        """The watched descriptors that can be read, when something is to be done or the time is over."""
        ready = dict(self._poller.poll(int(timeout_s * 1000)))
        if self._zap in ready:
            self._decide()
        return {one for one in ready if isinstance(one, int)}

    def _decide(self) -> None:
        """RFC 27: may this key connect? Only to our domain, only by CURVE."""
        frames = self._zap.recv_multipart()
        version, request, domain, _, _, mechanism, *credentials = frames if len(frames) >= 6 else [b""] * 6
        key = z85.encode(credentials[0]).decode() if len(credentials) == 1 else ""
        good = (version, domain, mechanism) == (b"1.0", DOMAIN, b"CURVE") and self._admits(key)
        verdict = [b"200", b"OK", key.encode(), b""] if good else [b"400", b"not admitted", b"", b""]
        self._zap.send_multipart([b"1.0", request, *verdict])

    def receive(self, most: int) -> list[Received]:
        """At most so many that are there now; what is no request of ours is left out."""
        found = []
        for _ in range(most):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            if len(frames) == 2:
                found.append(Received(frames[0].bytes, str(frames[1].get("User-Id")), frames[1].bytes))
        return found

    def send(self, route: bytes, data: bytes) -> None:
        """Lost when the node is gone, or does not read."""
        try:
            self._router.send_multipart([route, data], zmq.NOBLOCK)
        except zmq.ZMQError:
            return

    def drop_all(self) -> None:
        """Close every connection and listen anew; who is still admitted is back in a moment."""
        self._poller.unregister(self._router)
        self._router.close(0)
        self._router = self._bound()

    def close(self) -> None:
        self._router.close(0)
        self._zap.close(0)
        self._context.term()


class Link:
    """A node's end of the connection to one witness, made at the first use and kept. Belongs to one event loop."""

    def __init__(self, address: str, port: int, server_key: str, secret_key: str) -> None:
        self._where = endpoint(address, port)
        self._server_key = server_key
        self._pair = pair_of(secret_key)
        self._context = zmq.asyncio.Context()
        socket = self._context.socket(zmq.DEALER)
        _set(socket, MAX_ANSWER_BYTES)
        socket.immediate = True
        socket.connect_timeout = 400
        socket.reconnect_ivl = 100
        socket.tcp_maxrt = 2000
        socket.curve_secretkey = self._pair.secret.encode()
        socket.curve_publickey = self._pair.public.encode()
        socket.curve_serverkey = server_key.encode()
        socket.connect(self._where)
        self._socket = socket

    async def connected(self) -> None:
        """Return when a message can be sent without being kept here: never while there is no connection."""
        while not int(self._socket.get(zmq.EVENTS)) & zmq.POLLOUT:
            await self._socket.poll(flags=zmq.POLLOUT)  # type: ignore[call-arg]

    def send(self, data: bytes) -> None:
        """At once; PeerError when there is no connection or its queue is full."""
        sent = self._socket.send(data, zmq.NOBLOCK)
        if not (isinstance(sent, asyncio.Future) and sent.done() and sent.exception() is None):
            raise PeerError(f"the witness {self._where} does not take a message")

    async def receive(self) -> bytes:
        frames = await self._socket.recv_multipart()
        return bytes(frames[0]) if len(frames) == 1 else b""

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()
