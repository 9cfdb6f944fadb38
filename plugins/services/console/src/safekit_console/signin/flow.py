"""The way to the provider and back: authorization code with PKCE, state and nonce, good once and for one browser."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from safekit_console.settings import ConsoleSettings
from safekit_console.signin import Person, usable_name
from safekit_console.signin.provider import Provider, refused

BEGUN: Final = 1000
"""Sign-ins under way at once; the oldest is forgotten."""
BEGUN_S: Final = 600.0
GROUPS: Final = 500


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in on its way."""

    at_s: float
    browser: str
    """A digest of what the browser has in a cookie: another browser's answer is not taken."""
    nonce: str
    verifier: str
    target: str


class Flow:
    def __init__(self, settings: ConsoleSettings, provider: Provider) -> None:
        self._settings = settings
        self._provider = provider
        self._begun: OrderedDict[str, Begun] = OrderedDict()

    async def begin(self, target: str, answer_url: str) -> tuple[str, str]:
        """The address at the provider, and what the browser keeps until it is back."""
        metadata = await self._provider.metadata()
        state, browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        self._begun[state] = Begun(time.monotonic(), _digest(browser), nonce, verifier, target)
        while len(self._begun) > BEGUN:
            self._begun.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": answer_url,
            "scope": self._settings.oidc_scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in metadata.authorization else "?"
        return f"{metadata.authorization}{separator}{urlencode(query)}", browser

    async def end(self, query: Mapping[str, str], browser: str, answer_url: str) -> tuple[Person, str]:
        """Who came back, and where he wanted to go. HttpError 401 when he did not, or not from here."""
        begun = self._begun.pop(query.get("state", ""), None)
        if begun is None or time.monotonic() - begun.at_s > BEGUN_S:
            raise refused("this sign-in was not begun here, took too long, or was ended already")
        if not hmac.compare_digest(begun.browser, _digest(browser)):
            raise refused("this sign-in was begun in another browser")
        if query.get("iss", self._settings.oidc_issuer) != self._settings.oidc_issuer:
            raise refused("the answer is of another provider")
        if "error" in query or not query.get("code"):
            raise refused("it was broken off there")
        token = await self._provider.exchange(query["code"][:4096], begun.verifier, answer_url)
        return self._person(await self._provider.claims(token, begun.nonce)), begun.target

    def _person(self, claims: Mapping[str, Any]) -> Person:
        claim = self._settings.oidc_name_claim
        name = usable_name(claims.get(claim), claim)
        said = claims.get(self._settings.oidc_groups_claim, [])
        groups = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        return Person(name, str(claims["sub"])[:255], [one for one in groups[:GROUPS] if isinstance(one, str)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
