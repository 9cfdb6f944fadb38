"""How our sockets are set: bounded queues, bounded messages, dead connections dropped, no wait at close."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
import zmq.asyncio

from safekit.bus.keys import KeyPair

NODE_DOMAIN = "safekit-node"
JOIN_DOMAIN = "safekit-join"
LINK_UP_S = 2.0
"""Within this time two nodes that can reach each other are connected: the time-out of a connection under way, the pause
before the next, and the handshake."""
Socket = zmq.asyncio.Socket
Context = zmq.asyncio.Context


def _bounded(socket: Any, max_bytes: int, queue: int) -> None:
    socket.linger = 0
    socket.maxmsgsize = max_bytes
    socket.sndhwm = queue
    socket.rcvhwm = queue


def _network(socket: Any) -> None:
    """A peer that vanished without a word is noticed by the transport within about two seconds, and the
    connection is tried anew every 100 ms, so that a healed cut is heard within LINK_UP_S."""
    socket.ipv6 = True
    socket.handshake_ivl = 2000
    socket.connect_timeout = 400
    socket.reconnect_ivl = 100
    socket.tcp_maxrt = 2000
    socket.heartbeat_ivl = 500
    socket.heartbeat_timeout = 2000


def curve_server(
    context: zmq.asyncio.Context, pair: KeyPair, domain: str, *, max_bytes: int, queue: int = 1000
) -> Socket:
    socket = context.socket(zmq.ROUTER)
    _bounded(socket, max_bytes, queue)
    _network(socket)
    socket.curve_secretkey = pair.secret.encode()
    socket.curve_publickey = pair.public.encode()
    socket.curve_server = True
    socket.zap_domain = domain.encode()
    socket.router_handover = True
    return socket


def curve_client(
    context: zmq.asyncio.Context, pair: KeyPair, server_key: str, *, max_bytes: int, queue: int = 32
) -> Socket:
    """A DEALER that queues nothing while it is not connected."""
    socket = context.socket(zmq.DEALER)
    _bounded(socket, max_bytes, queue)
    _network(socket)
    socket.immediate = True
    socket.curve_secretkey = pair.secret.encode()
    socket.curve_publickey = pair.public.encode()
    socket.curve_serverkey = server_key.encode()
    return socket


def local_server(context: zmq.asyncio.Context, *, max_bytes: int, queue: int = 10000) -> Socket:
    socket = context.socket(zmq.ROUTER)
    _bounded(socket, max_bytes, queue)
    socket.router_handover = True
    return socket


def local_client(context: zmq.asyncio.Context, *, max_bytes: int, queue: int = 10000) -> Socket:
    socket = context.socket(zmq.DEALER)
    _bounded(socket, max_bytes, queue)
    return socket


def send_now(socket: Socket, *frames: bytes) -> bool:
    """Hand it to the socket at once. False when the receiver is not connected or its queue is full."""
    sent = socket.send_multipart(list(frames), flags=zmq.NOBLOCK)
    return isinstance(sent, asyncio.Future) and sent.exception() is None


def endpoint(address: str, port: int) -> str:
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"
