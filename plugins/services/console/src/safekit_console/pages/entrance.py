"""Signing in and out, the first set-up, and the arrival from another node."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import JSONResponse, Response

from safekit_console.access import COOKIE, address_of, form, refuse_forged, who_asks
from safekit_console.accounts import MAX_PASSWORD, User, UserName, digest
from safekit_console.connection import shown_by
from safekit_console.errors import HttpError
from safekit_console.limiting import Pace, network_of
from safekit_console.pages.rendering import THEMES, go, page, words_of
from safekit_console.parts import Console, console_of
from safekit_console.signin import grants_of
from safekit_console.signin.certificates import fingerprint
from safekit_console.words import languages

router = APIRouter(include_in_schema=False)
_NAME: Final = TypeAdapter(UserName)
_ARRIVALS: Final = Pace(rate=1.0, burst=30.0)


def inside(path: str) -> str:
    """A path of this console, whatever was given."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if good else "/"


def refuse_foreign(request: Request) -> None:
    """Another site's page could sign a browser in as somebody of its own choice. Every browser says where from."""
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise HttpError(
            403, "forged", "this request did not come from a page of the console", hint="load the page anew"
        )


def enter(request: Request, console: Console, user: User, answer: Response, certificate: str = "") -> Response:
    """With a new session, bound to the certificate if there is one; the one that this browser had ends."""
    if old := request.cookies.get(COOKIE):
        console.store.end(digest(old))
    token = console.store.begin(user, address_of(request), request.headers.get("user-agent", ""), certificate)
    limit_s = console.settings.session_s
    answer.set_cookie(COOKIE, token, max_age=limit_s, path="/", secure=True, httponly=True, samesite="strict")
    return answer


@router.get("/health")
async def health() -> JSONResponse:
    """Whether a console answers here; pages of other nodes ask it before they come over."""
    return JSONResponse({"console": "ok"}, headers={"cross-origin-resource-policy": "cross-origin"})


@router.get("/login")
async def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    return page(request, "login.html", next=inside(next), error="", name="")


@router.post("/login")
async def login(request: Request) -> Response:
    refuse_foreign(request)
    console, fields, address = console_of(request), await form(request), address_of(request)
    name, password = fields.get("name", "")[:64], fields.get("password", "")
    target = inside(fields.get("next", "/"))
    await console.records.fresh()
    origin, words = f"browser at {address}", words_of(request)
    try:
        console.lock_out.try_once(name.casefold(), address)
    except HttpError as error:
        return page(request, "login.html", None, 429, next=target, error=words(error.message), name=name)
    try:
        user = await _known(console, name, password)
    except HttpError as error:
        console.lock_out.passed(name.casefold(), address)  # the password was right, or could not be looked at
        console.store.note(name, origin, "sign in", "", f"failed: {error.message}")
        return page(request, "login.html", None, error.status, next=target, error=words(error.message), name=name)
    if user is None:
        console.store.note(name, origin, "sign in", "", "failed: wrong name or password")
        wrong = words("The name or the password is wrong.")
        return page(request, "login.html", None, 401, next=target, error=wrong, name=name)
    console.lock_out.passed(name.casefold(), address)
    console.store.note(user.name, origin, "sign in", "", "done")
    return enter(request, console, user, go(target))


async def _known(console: Console, name: str, password: str) -> User | None:
    """A local user of this name, else one of the directory: what is local is never looked for elsewhere."""
    if console.directory is None or console.accounts.user(name) is not None:
        return await console.accounts.verify(name, password)
    person = await console.directory.who(name, password[:MAX_PASSWORD])
    if person is None:
        return None
    grants = grants_of(console.settings, person.groups)
    return await console.accounts.arrive(f"ldap:{person.name}", person.subject, grants, console.settings.session_s)


@router.post("/logout")
async def logout(request: Request) -> Response:
    console = console_of(request)
    asker = await who_asks(request, console)
    await refuse_forged(request, asker)
    console.store.end(asker.session)
    console.store.note(asker.user.name, asker.operator.origin, "sign out", "", "done")
    answer = go("/login")
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


@router.get("/setup/{secret}")
async def setup_page(request: Request, secret: str) -> Response:
    console = console_of(request)
    await console.records.fresh()
    if not console.accounts.is_setup(secret):
        raise HttpError(410, "gone", "this link was used, or is too old", hint="`safekit console link` prints one")
    return page(request, "setup.html", secret=secret, error="", name="admin")


@router.post("/setup/{secret}")
async def setup(request: Request, secret: str) -> Response:
    refuse_foreign(request)
    console, fields = console_of(request), await form(request)
    await console.records.fresh()
    words, name = words_of(request), fields.get("name", "")
    try:
        if fields.get("password") != fields.get("again"):
            raise HttpError(422, "invalid", "the two passwords are not the same")
        user = await console.accounts.set_up(secret, _NAME.validate_python(name), fields.get("password", ""))
    except ValidationError:
        wrong = words("a name has letters, digits and . _ @ -")
        return page(request, "setup.html", None, 422, secret=secret, error=wrong, name=name)
    except HttpError as problem:
        if problem.status != 422:
            raise
        return page(request, "setup.html", None, 422, secret=secret, error=words(problem.message), name=name)
    console.store.note(user.name, f"browser at {address_of(request)}", "set up", "", "done")
    return enter(request, console, user, go("/"))


@router.post("/handover")
async def handover(request: Request) -> Response:
    """From a page of another node's console, which is gone. The page that answers leads on by itself: a browser does
    not send a strict cookie where another site has led it."""
    console, fields = console_of(request), await form(request)
    _ARRIVALS.take(network_of(address_of(request)))
    await console.records.fresh()
    target = inside(fields.get("next", "/"))
    shown = shown_by(request)
    found = console.handover.accept(
        fields.get("ticket", ""), console.watch.snapshot.own, fingerprint(shown) if shown else ""
    )
    if found is None:
        return go("/login")
    user, certificate = found
    console.store.note(user.name, f"browser at {address_of(request)}", "came over", fields.get("from", ""), "done")
    return enter(request, console, user, page(request, "arrived.html", target=target), certificate)


@router.post("/preferences")
async def preferences(request: Request) -> Response:
    """Language and light; they are no secret and change nothing for anybody else."""
    fields = await form(request)
    answer = go(inside(fields.get("next", "/")))
    for name, known in (("lang", tuple(languages())), ("theme", THEMES)):
        if fields.get(name) in known:
            answer.set_cookie(name, fields[name], max_age=31536000, path="/", secure=True, samesite="lax")
    return answer


@router.get("/authority.pem")
async def authority(request: Request) -> Response:
    """The certificate of the authority, for browsers to trust. It is public."""
    console = console_of(request)
    await console.records.fresh()
    found = console.records.get("key/authority")
    if console.settings.certificate is not None or not found:
        raise HttpError(404, "not-found", "this console uses a certificate of its operator")
    return Response(found["certificate"], media_type="application/x-x509-ca-cert")
