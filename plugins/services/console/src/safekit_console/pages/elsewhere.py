"""Signing in at an OpenID provider: the way there, and the way back."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from safekit_console.access import address_of
from safekit_console.errors import HttpError, not_found
from safekit_console.limiting import Pace, network_of
from safekit_console.pages.entrance import enter, inside
from safekit_console.pages.rendering import page, words_of
from safekit_console.parts import Console, console_of
from safekit_console.signin import grants_of
from safekit_console.signin.flow import BEGUN_S, Flow

router = APIRouter(include_in_schema=False)
COOKIE: Final = "__Host-safekit-oidc"
_TRIES: Final = Pace(rate=0.5, burst=20.0)
"""Of one address: each costs the provider a question."""


def _flow(console: Console) -> Flow:
    if console.oidc is None:
        raise not_found("this console knows no OpenID provider")
    return console.oidc


def _answer_url(console: Console) -> str:
    """As it has to be registered at the provider. Of this console's own settings, never of the request's Host."""
    return f"{console.url(console.watch.snapshot.own)}/login/oidc/answer"


@router.get("/login/oidc")
async def begin(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    console = console_of(request)
    flow = _flow(console)
    _TRIES.take(network_of(address_of(request)))
    place, browser = await flow.begin(inside(next), _answer_url(console))
    answer = RedirectResponse(place, 303)
    # strict would not be sent when the provider leads back
    answer.set_cookie(COOKIE, browser, max_age=int(BEGUN_S), path="/", secure=True, httponly=True, samesite="lax")
    return answer


@router.get("/login/oidc/answer")
async def end(request: Request) -> Response:
    console, origin = console_of(request), f"browser at {address_of(request)}"
    flow = _flow(console)
    _TRIES.take(network_of(address_of(request)))
    await console.records.fresh()
    who = "oidc"
    try:
        person, target = await flow.end(
            dict(request.query_params), request.cookies.get(COOKIE, ""), _answer_url(console)
        )
        who = f"oidc:{person.name}"
        grants = grants_of(console.settings, person.groups)
        user = await console.accounts.arrive(who, person.subject, grants, console.settings.session_s)
    except HttpError as error:
        console.store.note(who, origin, "sign in", "", f"failed: {error.message}")
        wrong = words_of(request)(error.message)
        answer: Response = page(request, "login.html", None, error.status, next="/", error=wrong, name="")
    else:
        console.store.note(who, origin, "sign in", "", "done")
        answer = enter(request, console, user, page(request, "arrived.html", target=target))
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer
