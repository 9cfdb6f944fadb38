"""One witness, as a node sees it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from safekit_sdk import PeerError
from safekit_witness import messages
from safekit_witness.messages import Event, Failed, Reply, Request
from safekit_witness.tokens import Token
from safekit_witness.wire import Link

MAX_WAITING: Final = 256
"""Requests of one node that wait for an answer at a time."""


class Asked(Protocol):
    """What a quorum is made of."""

    name: str
    complaint: str
    """Why it did not understand a message, which it cannot name; empty when the last answer was to a request."""

    async def ask(self, module: str, event: Callable[[], Event]) -> Reply:
        """Send the event, made at the moment when it can be sent, and return the answer to it. PeerError when it
        cannot be sent. Without end while it is silent; may be cancelled at any point."""


class Member:
    """A connection, made at the first request and kept."""

    def __init__(self, token: Token) -> None:
        self.name = f"{token.address} port {token.port}"
        self.complaint = ""
        self._token = token
        self._link: Link | None = None
        self._collector: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._session = secrets.token_hex(8)
        self._serial = itertools.count(1)

    async def ask(self, module: str, event: Callable[[], Event]) -> Reply:
        link = self._opened()
        if len(self._waiting) >= MAX_WAITING:
            raise PeerError(f"{MAX_WAITING} requests wait for the witness {self.name}")
        request_id = f"{self._session}-{next(self._serial)}"
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await link.connected()
            link.send(messages.encode(Request(id=request_id, module=module, event=event())))
            return await answer
        finally:
            del self._waiting[request_id]

    def _opened(self) -> Link:
        if self._link is None:
            token = self._token
            self._link = Link(token.address, token.port, token.server_key, token.secret_key)
            self._collector = asyncio.create_task(self._collect(self._link), name=f"witness {self.name}")
        return self._link

    async def _collect(self, link: Link) -> None:
        """Hand each answer to the request that it belongs to; to none when that is not waited for any more."""
        while True:
            data = await link.receive()
            with contextlib.suppress(PeerError):
                answer = messages.decode(messages.ANSWER, data, messages.MAX_ANSWER_BYTES)
                self.complaint = answer.reply.reason if not answer.id and isinstance(answer.reply, Failed) else ""
                waiting = self._waiting.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer.reply)

    async def close(self) -> None:
        link, self._link = self._link, None
        if self._collector is not None:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)
        if link is not None:
            link.close()
