"""Who asks, and whether he may: every route of the console says what it needs, or nobody gets in."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request

from safekit_console.accounts import User
from safekit_console.connection import shown_by
from safekit_console.errors import HttpError, forbidden, not_found, unauthorized
from safekit_console.limiting import Pace, network_of
from safekit_console.parts import Console, console_of
from safekit_console.roles import Role, role_for, sees
from safekit_console.signin.certificates import Certificates, fingerprint, user_of
from safekit_console.store import Session
from safekit_sdk.control import Operator

COOKIE: Final = "__Host-safekit"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_FIELDS: Final = 200
API: Final = "/api/"
NO_PAGE: Final = "certificate"
"""The header X-Csrf of a program that comes with a certificate and nothing else."""
_NAMED_BY_BROWSERS: Final = frozenset({"sec-fetch-site", "sec-fetch-mode", "origin", "referer", "cookie"})
_REFUSED: Final = Pace(rate=0.5, burst=20.0)
"""Of one address: each is written down."""


@dataclass(frozen=True, slots=True)
class Asker:
    user: User
    grants: Mapping[str, Role]
    """What the user may do; of an API token, what the token may do as well."""
    address: str
    csrf: str = ""
    session: str = ""
    """Its digest; empty for an API token."""
    token: str = ""
    """Its identifier."""
    shown: bytes = b""
    """The certificate that he came with: that the session is bound to, or that there is instead of one."""

    @property
    def certificate(self) -> str:
        """Its fingerprint, if there is one."""
        return fingerprint(self.shown) if self.shown else ""

    def role(self, module: str | None = None) -> Role:
        return role_for(self.grants, module)

    def sees(self, module: str) -> bool:
        return sees(self.grants, module)

    @property
    def operator(self) -> Operator:
        how = f"token {self.token}" if self.token else "browser" if self.session else "program"
        how += f" with certificate {self.certificate[:16]}" if self.certificate else ""
        return Operator(self.user.name, f"{how} at {self.address}")

    def require(self, role: Role, module: str | None = None) -> None:
        if self.role(module) < role:
            what = f"module '{module}'" if module else "the cluster"
            raise forbidden(f"this needs the role {role.word} on {what}")


Dependency = Callable[[Request], Awaitable[Asker]]


class Needs:
    """A dependency of a route: the role it needs, on the module in its path if there is one, else on the cluster.

    With `Role.NONE` a user is needed and no more: what the route shows depends on him."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Asker:
        console = console_of(request)
        asker = await who_asks(request, console)
        if request.method not in SAFE:
            console.changes.take(asker.session or asker.token or asker.certificate)
            await refuse_forged(request, asker)
        module = request.path_params.get("module")
        try:
            self._check(asker, module)
        except HttpError:
            if request.method not in SAFE:
                what = f"{request.method} {request.url.path}"
                console.store.note(asker.user.name, asker.operator.origin, "denied", what, "not allowed")
            raise
        request.state.asker = asker
        return asker

    def _check(self, asker: Asker, module: str | None) -> None:
        if module is not None and not asker.sees(module) and self.role:
            raise not_found(f"there is no module '{module}' that you may see")
        asker.require(self.role, module)


async def who_asks(request: Request, console: Console) -> Asker:
    """HttpError 401 when nobody is signed in."""
    await console.records.fresh()
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return _by_token(console, text.strip(), address_of(request))
    shown = shown_by(request)
    session = console.store.session(request.cookies.get(COOKIE, ""))
    if session is not None:
        return _by_session(console, session, address_of(request), shown)
    if shown and console.certificates and is_program(request):
        return await _by_certificate(console, console.certificates, shown, address_of(request))
    raise unauthorized()


def _by_token(console: Console, text: str, address: str) -> Asker:
    found = console.accounts.bearer(text)
    if found is None:
        raise unauthorized("this API token is none, or has expired")
    user, token = found
    return Asker(user, token.roles(user), address, token=token.id)


def _by_session(console: Console, session: Session, address: str, shown: bytes) -> Asker:
    user = console.accounts.user(session.user)
    if user is None or user.generation != session.generation:
        console.store.end(session.digest)
        raise unauthorized("your account has changed; sign in again")
    bound = session.certificate
    if bound and (not shown or fingerprint(shown) != bound):
        raise unauthorized("this session belongs to a certificate that was not shown")
    if bound and not holds(console, shown, user):
        console.store.end(session.digest)
        raise unauthorized("your certificate does not count any more")
    kept = shown if bound else b""
    return Asker(user, user.roles, address, csrf=session.csrf, session=session.digest, shown=kept)


def is_program(request: Request) -> bool:
    """Whether the certificate is enough. A browser shows it unasked, also to a request that another site's page makes:
    it needs a session. Each says where a request comes from, in one of these."""
    return request.url.path.startswith(API) and _NAMED_BY_BROWSERS.isdisjoint(request.headers.keys())


async def _by_certificate(console: Console, known: Certificates, shown: bytes, address: str) -> Asker:
    who = ""
    try:
        holder = known.holder(shown)
        who = holder.name
        console.lock_out.refuse_locked(who.casefold(), address)
        limit_s = console.settings.session_s
        user = await user_of(holder, console.accounts, limit_s, limit_s / 2)
    except HttpError as error:
        _REFUSED.take(network_of(address))
        console.store.note(who, f"program at {address}", "sign in", "", f"failed: certificate: {error.message}")
        raise
    return Asker(user, user.roles, address, shown=shown)


def holds(console: Console, shown: bytes, user: User) -> bool:
    """Whether the certificate still lets this user in: it may have expired since, been revoked, or become another's.
    HttpError 503 when that cannot be said now."""
    try:
        return console.certificates is not None and console.certificates.holder(shown).fits(user)
    except HttpError as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return False


async def refuse_forged(request: Request, asker: Asker) -> None:
    """Another site's page can make a browser send the cookie, but cannot know the session's word. A token is sent by no
    browser on its own. A certificate is; but such a page can set no header."""
    if asker.token:
        return
    given = request.headers.get("x-csrf", "")
    if asker.session:
        given = given or (await form(request)).get("csrf", "")
    if not hmac.compare_digest(given.encode(), (asker.csrf if asker.session else NO_PAGE).encode()):
        raise HttpError(
            403, "forged", "this request did not come from a page of the console", hint="load the page anew"
        )


async def form(request: Request) -> dict[str, str]:
    """The fields of a form; HttpError 400 when there are too many. Of one that is there several times, all lines."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise HttpError(400, "malformed", "these are not the fields of a form") from None
    return {name: "\n".join(values).replace("\r\n", "\n") for name, values in fields.items()}


def address_of(request: Request) -> str:
    """Of the other end of the connection. There is no proxy whose word could be taken."""
    return request.client.host.removeprefix("::ffff:") if request.client else "unknown"
