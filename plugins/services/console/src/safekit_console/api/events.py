"""Server-sent events: that something changed, and tickets with which a page goes over to another node."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from safekit_console.access import Asker, holds
from safekit_console.api.cluster import AnyUser
from safekit_console.errors import HttpError
from safekit_console.handover import RENEWED_S
from safekit_console.parts import Console, console_of

router = APIRouter(tags=["events"])
STREAMS: Final = 1000
STREAMS_EACH: Final = 250
"""Of one user: some have many pages open, or a programme that follows."""
SIGN_OF_LIFE_S: Final = 2.0
"""A page that has heard nothing for a few of these takes the node for gone."""
LONGEST_S: Final = 900.0
"""Then the browser comes again, and shows that it may."""
PAUSE_S: Final = 0.05
_OPEN: dict[str, int] = {}


@router.get("/events", response_class=StreamingResponse)
async def events(request: Request, asker: AnyUser) -> StreamingResponse:
    """`state` with the version of what is known, at once and at each change; `consoles` with the other nodes' addresses
    and, for a browser, tickets; `alive` every two seconds."""
    name = asker.user.name
    if _is_full(name):
        raise HttpError(429, "too-many", "too many event streams are open", retry_s=30.0)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_told(console_of(request), asker), media_type="text/event-stream", headers=headers)


def _is_full(name: str) -> bool:
    return sum(_OPEN.values()) >= STREAMS or _OPEN.get(name, 0) >= STREAMS_EACH


async def _told(console: Console, asker: Asker) -> AsyncIterator[str]:
    name = asker.user.name
    if _is_full(name):  # many may have been let in at the same moment
        return
    _OPEN[name] = _OPEN.get(name, 0) + 1
    try:
        end_s, tickets_s, number = time.monotonic() + LONGEST_S, 0.0, -1
        while time.monotonic() < end_s and _still(console, asker):
            if time.monotonic() >= tickets_s:
                tickets_s = time.monotonic() + RENEWED_S
                console.store.touch(asker.session)
                yield _event("consoles", _consoles(console, asker))
            snapshot = await console.watch.after(number, SIGN_OF_LIFE_S)
            await console.records.fresh()
            if snapshot.number == number:
                yield _event("alive", {})
                continue
            number = snapshot.number
            yield _event("state", {"version": number})
            await asyncio.sleep(PAUSE_S)
    finally:
        _OPEN[name] -= 1
        if not _OPEN[name]:
            del _OPEN[name]


def _still(console: Console, asker: Asker) -> bool:
    """What is revoked ends within a sign of life; an event stream is no use of a session."""
    user = console.accounts.user(asker.user.name)
    if user is None or user.generation != asker.user.generation:
        return False
    try:
        if asker.shown and not holds(console, asker.shown, user):
            return False
    except HttpError:  # the page asks again, and is told why
        return False
    return not asker.session or any(one.digest == asker.session for one in console.store.sessions(user.name))


def _consoles(console: Console, asker: Asker) -> dict[str, Any]:
    others = console.others()
    if not asker.session:
        return {"consoles": others}
    ticket = console.handover.ticket
    return {"consoles": others, "tickets": {node: ticket(asker.user, node, asker.certificate) for node in others}}


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
