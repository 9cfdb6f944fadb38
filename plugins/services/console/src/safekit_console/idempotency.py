"""A request with an Idempotency-Key is done once: asked again, within a day, it gets the answer of the first time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.responses import JSONResponse, Response

from safekit_console.access import Asker
from safekit_console.errors import HttpError
from safekit_console.parts import console_of
from safekit_console.problems import EXPECTED, answer

IdempotencyKey = Annotated[str | None, Header(min_length=8, max_length=128, pattern=r"^[\x21-\x7e]+$")]
_UNDER_WAY: set[str] = set()


async def once(request: Request, asker: Asker, key: str | None, work: Callable[[], Awaitable[Any]]) -> Response:
    """The work's result as JSON. Errors are kept like results: what failed is tried again with another key."""
    if key is None:
        return JSONResponse(await work())
    store = console_of(request).store
    body = await request.body()
    asked = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
    name = f"{asker.user.name} {asker.token} {key}"
    if known := store.reply(name):
        if known[0] != asked:
            raise HttpError(422, "key-reused", "this Idempotency-Key was given for another request")
        kind = "application/json" if known[1] < 400 else "application/problem+json"
        return Response(known[2], known[1], {"idempotency-replayed": "true"}, kind)
    if name in _UNDER_WAY:
        raise HttpError(409, "under-way", "the first request with this Idempotency-Key is under way", retry_s=1.0)
    _UNDER_WAY.add(name)
    try:
        done = await asyncio.shield(asyncio.ensure_future(_done(work)))
        store.keep_reply(name, asked, done.status_code, bytes(done.body).decode())
        return done
    finally:
        _UNDER_WAY.discard(name)


async def _done(work: Callable[[], Awaitable[Any]]) -> Response:
    try:
        return Response(json.dumps(await work()), media_type="application/json")
    except EXPECTED as error:
        return answer(error)
