"""Joining a cluster with one token: it pins the key of the node that issued it, and carries a secret that
works once and for a short time. Nothing else has to be trusted, copied or typed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import secrets
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import zmq
import zmq.asyncio
from zmq.utils import z85

from safekit.bus import messages, sockets
from safekit.bus.keys import KeyPair
from safekit.bus.messages import JoinAnswer, JoinRequest
from safekit_sdk import ConfigError, PeerError, RefusedError

_LAYOUT = struct.Struct("!B16sH32s16sI")
_VERSION = 1
MAX_WRONG_SECRETS = 5
OnJoin = Callable[[JoinRequest], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Token:
    """Layout: version, IPv6 or mapped IPv4 address, port, issuer's public key, secret, expiry (Unix time), CRC-32."""

    address: str
    port: int
    public_key: str
    secret: bytes
    expires: int

    def __str__(self) -> str:
        address = ipaddress.ip_address(self.address)
        packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
        body = _LAYOUT.pack(_VERSION, packed, self.port, z85.decode(self.public_key), self.secret, self.expires)
        return base64.urlsafe_b64encode(body + struct.pack("!I", zlib.crc32(body))).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Token:
        """ConfigError when the token was cut off or mistyped."""
        wrong = ConfigError(
            "this is not a join token, or a part of it is missing",
            hint="copy the whole line that `safekit cluster token` printed",
        )
        try:
            data = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
        except (binascii.Error, ValueError):
            raise wrong from None
        if len(data) != _LAYOUT.size + 4 or struct.pack("!I", zlib.crc32(data[:-4])) != data[-4:]:
            raise wrong
        version, packed, port, key, secret, expires = _LAYOUT.unpack(data[:-4])
        if version != _VERSION:
            raise ConfigError(
                f"this token is of version {version}", hint="run the same version of safekit on all nodes"
            )
        address = ipaddress.IPv6Address(packed)
        return cls(str(address.ipv4_mapped or address), port, z85.encode(key).decode(), secret, expires)


class JoinServer:
    """Listens only while a token is outstanding. Five wrong secrets void every token."""

    def __init__(self, context: zmq.asyncio.Context, pair: KeyPair, on_join: OnJoin, wall_clock: Callable[[], float]):
        self._context = context
        self._pair = pair
        self._on_join = on_join
        self._wall_clock = wall_clock
        self._tokens: dict[bytes, Token] = {}
        self._wrong = 0
        self._listeners: dict[tuple[str, int], asyncio.Task[None]] = {}

    def issue(self, address: str, port: int, ttl_s: float) -> Token:
        """Return a new token and listen for its bearer on address:port. PeerError when that cannot be bound."""
        if len(self._tokens) >= 16:
            self._tokens = {key: token for key, token in self._tokens.items() if token.expires > self._wall_clock()}
        if len(self._tokens) >= 16:
            raise RefusedError("16 join tokens are outstanding", hint="wait until they have expired")
        token = Token(address, port, self._pair.public, secrets.token_bytes(16), int(self._wall_clock() + ttl_s))
        place = (address, port)
        if place not in self._listeners or self._listeners[place].done():
            self._listeners[place] = asyncio.create_task(self._serve(place, self._bind(address, port)))
        self._tokens[token.secret] = token
        return token

    async def close(self) -> None:
        for task in self._listeners.values():
            task.cancel()
        await asyncio.gather(*self._listeners.values(), return_exceptions=True)

    def _bind(self, address: str, port: int) -> sockets.Socket:
        socket = sockets.curve_server(
            self._context, self._pair, sockets.JOIN_DOMAIN, max_bytes=messages.MAX_JOIN_BYTES, queue=16
        )
        try:
            socket.bind(sockets.endpoint(address, port))
        except zmq.ZMQError as error:
            socket.close(0)
            raise PeerError(f"cannot listen for joins on {address} port {port}: {error.strerror}") from None
        return socket

    async def _serve(self, place: tuple[str, int], socket: sockets.Socket) -> None:
        try:
            while any((token.address, token.port) == place for token in self._tokens.values()):
                if not await socket.poll(1000):
                    self._forget_expired()
                    continue
                frames = await socket.recv_multipart()
                if len(frames) == 2:
                    answer = await self._answer(frames[1])
                    await socket.send_multipart([frames[0], messages.encode(answer)])
            await asyncio.sleep(0.5)  # the last answer leaves before the socket closes
        finally:
            socket.close(0)

    def _forget_expired(self) -> None:
        """A minute late, so that the bearer of an expired token is told so."""
        now = self._wall_clock()
        self._tokens = {key: token for key, token in self._tokens.items() if token.expires + 60 > now}

    async def _answer(self, data: bytes) -> JoinAnswer:
        try:
            request = messages.decode(messages.JOIN_REQUEST, data, messages.MAX_JOIN_BYTES)
            token = self._check(request)
            cluster = await self._on_join(request)
            self._tokens.pop(token.secret, None)
            return JoinAnswer(cluster=cluster)
        except Exception as error:  # whatever it is, the bearer is told and the server lives on
            return JoinAnswer(error=messages.error_body(error))

    def _check(self, request: JoinRequest) -> Token:
        given = request.secret.encode()
        for secret, token in self._tokens.items():
            if hmac.compare_digest(secret.hex().encode(), given):
                if token.expires <= self._wall_clock():
                    raise RefusedError("this join token has expired", hint="issue a new one: `safekit cluster token`")
                return token
        self._wrong += 1
        if self._wrong >= MAX_WRONG_SECRETS:
            self._tokens.clear()
            self._wrong = 0
        raise RefusedError(
            "this join token is not valid here: it was used already, or never issued",
            hint="issue a new one on a member: `safekit cluster token`",
        )


def ask_to_join(token: Token, request: dict[str, Any], pair: KeyPair, timeout_s: float = 30.0) -> str:
    """Return the cluster file that contains the new node. Blocking; for the command line. The connection only
    comes about with the very node whose key the token pins."""
    context = zmq.Context()
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.ipv6 = True
    socket.maxmsgsize = messages.MAX_CALL_BYTES
    socket.curve_secretkey = pair.secret.encode()
    socket.curve_publickey = pair.public.encode()
    socket.curve_serverkey = token.public_key.encode()
    try:
        socket.connect(sockets.endpoint(token.address, token.port))
        message = JoinRequest(secret=token.secret.hex(), public_key=pair.public, **request)
        socket.send(messages.encode(message))
        if not socket.poll(int(timeout_s * 1000)):
            raise PeerError(
                f"the node at {token.address} port {token.port} does not answer",
                hint="check the network, that safekitd runs there, and that the token was neither used nor has expired",
            )
        answer = messages.decode(messages.JOIN_ANSWER, socket.recv(), messages.MAX_CALL_BYTES)
    finally:
        socket.close(0)
        context.term()
    if answer.error is not None:
        messages.raise_body(answer.error)
    return answer.cluster
