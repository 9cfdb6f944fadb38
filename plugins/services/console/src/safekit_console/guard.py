"""Around the application: bodies that are too large or too slow, and the headers that every answer has."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES: Final = 256 << 10
LARGE_BODY_BYTES: Final = 4 << 20
"""Of a module's files."""
LARGE_PLACES: Final = ("/configuration", "/plan", "/validate")
BODY_S: Final = 20.0
UNCOUNTED_BYTES: Final = 64 << 10
HELD_BYTES: Final = 48 << 20
"""Of all bodies that are on their way, what each has beyond UNCOUNTED_BYTES, together: anybody may send one."""
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "strict-transport-security": "max-age=31536000",
}


class _RefusedError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Guard:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, answer = _Body(scope, receive), _Answer(scope, send)

        async def told(message: Message) -> None:
            if body.refused is None or answer.started:
                await answer.send(message)

        try:
            with contextlib.suppress(_RefusedError):
                await self._app(scope, body.receive, told)
        finally:
            body.release()
        if body.refused is not None and not answer.started:
            await _refuse(answer.send, body.refused)


class _Answer:
    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            _add_headers(self._scope, message)
        await self._send(message)


class _Body:
    """At most so many bytes, and within so long a time. What the application makes of a refusal is not told: it does
    not know the reason."""

    _held = 0
    """Of all that are on their way."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.refused: _RefusedError | None = None
        self._receive = receive
        large = scope["path"].endswith(LARGE_PLACES)
        self._left = LARGE_BODY_BYTES if large else BODY_BYTES
        self._limit = self._left
        self._counted = 0
        self._whole = False
        self._deadline_s = asyncio.get_running_loop().time() + BODY_S
        self._announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")

    async def receive(self) -> Message:
        try:
            return await self._next()
        except _RefusedError as error:
            self.refused = error
            raise

    async def _next(self) -> Message:
        if self._whole:
            return await self._receive()
        if len(self._announced) > 18 or (self._announced.isdigit() and int(self._announced) > self._limit):
            raise _RefusedError(413, "too-large", f"a body has at most {self._limit} bytes here")
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError:
            raise _RefusedError(408, "too-slow", f"a body has to arrive within {BODY_S:g} s") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _RefusedError(413, "too-large", f"a body has at most {self._limit} bytes here")
        self._count(self._limit - self._left - UNCOUNTED_BYTES)
        self._whole = not message.get("more_body", False)
        return message

    def _count(self, beyond: int) -> None:
        if beyond > self._counted:
            _Body._held += beyond - self._counted
            self._counted = beyond
            if _Body._held > HELD_BYTES:
                raise _RefusedError(503, "busy", "too many large bodies are on their way; try again")

    def release(self) -> None:
        _Body._held -= self._counted
        self._counted = 0


def _add_headers(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers["content-security-policy"] = _policy(scope)
    if "server" in headers:
        del headers["server"]
    if not scope["path"].startswith("/static/"):
        headers.setdefault("cache-control", "no-store")


def _policy(scope: Scope) -> str:
    """Nothing inline, nothing from elsewhere; a page may go over to the other nodes' consoles."""
    console = getattr(getattr(scope.get("app"), "state", None), "console", None)
    others = " ".join(console.others().values()) if console else ""
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {others}".strip(),
        "form-action": f"'self' {others}".strip(),
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


async def _refuse(send: Send, error: _RefusedError) -> None:
    body: dict[str, Any] = {
        "type": f"urn:safekit:problem:{error.kind}",
        "title": error.kind.replace("-", " "),
        "status": error.status,
        "detail": error.message,
    }
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
