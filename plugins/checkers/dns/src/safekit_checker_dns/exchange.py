"""One question to one server, over UDP or TCP, within a time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket

from safekit_checker_dns import message
from safekit_checker_dns.config import DnsConfig
from safekit_checker_dns.message import Answer, CutOffError, Question
from safekit_checker_dns.names import GarbageError
from safekit_sdk.connect import SilentError, connect, explain

DATAGRAM_MAX_BYTES = 4096
WRONG_MAX = 200
"""Datagrams that are no answer, read before the server is given up: a flood must not keep this node busy."""


async def ask(config: DnsConfig, deadline_s: float) -> tuple[Answer, str]:
    """The server's answer, and what carried it. SilentError when it gives none until the deadline, on the loop's
    clock; OwnTroubleError when it could not be asked."""
    question = Question(secrets.randbelow(1 << 16), config.asked_name, config.record, config.recursion)
    if config.transport == "udp":
        with contextlib.suppress(CutOffError):
            return await _by_datagrams(config, question, deadline_s), "udp"
    return await _by_connection(config, question, deadline_s), "tcp"


def _left_s(deadline_s: float) -> float:
    return max(deadline_s - asyncio.get_running_loop().time(), 0.0)


async def _by_datagrams(config: DnsConfig, question: Question, deadline_s: float) -> Answer:
    """The socket is connected: the kernel keeps out what does not come from the server's address and port."""
    heard = _Heard(question)
    try:
        with socket.socket(_family(config), socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            asking.connect((config.server, config.port))  # sends nothing, and so does not wait
            for left in range(config.count, 0, -1):
                with contextlib.suppress(BlockingIOError):  # it is lost, like any packet may be
                    asking.send(question.encoded())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_left_s(deadline_s) / left):
                        return await heard.answer(asking)
    except OSError as error:
        raise explain(error) from None
    raise SilentError(f"no answer in time to {config.count} questions{heard.told}")


def _family(config: DnsConfig) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in config.server else socket.AF_INET


class _Heard:
    """What came that was no answer: it is passed over, as anyone can send it, and told when nothing else comes."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._wrong = 0
        self._last = ""

    @property
    def told(self) -> str:
        return f", only {self._wrong} packets that are none; of the last: {self._last}" if self._wrong else ""

    async def answer(self, asking: socket.socket) -> Answer:
        loop = asyncio.get_running_loop()
        while self._wrong < WRONG_MAX:
            packet = await loop.sock_recv(asking, DATAGRAM_MAX_BYTES + 1)
            try:
                if len(packet) > DATAGRAM_MAX_BYTES:
                    raise GarbageError(f"it has more than {DATAGRAM_MAX_BYTES} bytes")
                return message.read(packet, self._question)
            except GarbageError as wrong:
                self._wrong += 1
                self._last = str(wrong)
        raise SilentError(f"no answer{self.told}")


async def _by_connection(config: DnsConfig, question: Question, deadline_s: float) -> Answer:
    text = question.encoded()
    with await connect(config.server, config.port, _left_s(deadline_s)) as connection:
        try:
            async with asyncio.timeout(_left_s(deadline_s)):
                await asyncio.get_running_loop().sock_sendall(connection, len(text).to_bytes(2, "big") + text)
                size = int.from_bytes(await _exactly(connection, 2), "big")
                return message.read(await _exactly(connection, size), question)
        except OSError as error:
            raise explain(error, "accepted the connection, then ") from None
        except CutOffError:
            raise SilentError("says over TCP that its answer was cut off") from None
        except GarbageError as wrong:
            raise SilentError(f"what it answers over TCP is no answer: {wrong}") from None


async def _exactly(connection: socket.socket, size: int) -> bytes:
    """At most 65,535 bytes, as the length before them has two."""
    received = bytearray()
    while len(received) < size:
        chunk = await asyncio.get_running_loop().sock_recv(connection, size - len(received))
        if not chunk:
            raise SilentError(f"closed the connection after {len(received)} bytes of its answer")
        received += chunk
    return bytes(received)
