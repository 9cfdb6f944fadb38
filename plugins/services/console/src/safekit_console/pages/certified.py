"""Signing in with the certificate that the browser has shown to this connection."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from safekit_console.access import address_of, form
from safekit_console.connection import shown_by
from safekit_console.errors import HttpError, not_found
from safekit_console.limiting import Pace, network_of
from safekit_console.pages.entrance import enter, inside, refuse_foreign
from safekit_console.pages.rendering import go, page, words_of
from safekit_console.parts import console_of
from safekit_console.signin.certificates import user_of

router = APIRouter(include_in_schema=False)
_TRIES: Final = Pace(rate=0.5, burst=20.0)
"""Of one address: a sign-in is written down, on all nodes."""


@router.post("/login/certificate")
async def sign_in(request: Request) -> Response:
    """A form's button, never a link: browsers show certificates unasked, also where another site has led them."""
    refuse_foreign(request)
    console, address = console_of(request), address_of(request)
    if console.certificates is None:
        raise not_found("this console asks nobody for a certificate")
    _TRIES.take(network_of(address))
    target = inside((await form(request)).get("next", "/"))
    await console.records.fresh()
    who = ""
    try:
        if not (shown := shown_by(request)):
            raise HttpError(
                401, "unauthorized", "Your browser showed no certificate: close all its windows and try again."
            )
        holder = console.certificates.holder(shown)
        who = holder.name
        console.lock_out.refuse_locked(who.casefold(), address)
        limit_s = console.settings.session_s
        user = await user_of(holder, console.accounts, limit_s, limit_s)
    except HttpError as error:
        console.store.note(who, f"browser at {address}", "sign in", "", f"failed: certificate: {error.message}")
        wrong = words_of(request)(error.message)
        return page(request, "login.html", None, error.status, next=target, error=wrong, name="")
    console.store.note(user.name, f"browser at {address}", "sign in", str(holder), "done")
    return enter(request, console, user, go(target), holder.fingerprint)
