"""An OpenID provider: where it is, its keys, and what it says of somebody. Everything that it sends is bounded in size
and time, and only https is spoken; where it is is root's setting, so nobody can have another host asked."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from safekit_console.errors import HttpError
from safekit_console.settings import ConsoleSettings
from safekit_console.signin import secret_of

ALGORITHMS: Final = (
    "RS256",
    "PS256",
    "ES256",
    "RS384",
    "PS384",
    "ES384",
    "RS512",
    "PS512",
    "ES512",
    "Ed25519",
    "EdDSA",
)
"""What only the provider can sign. `none` is no signature, and HS256's key is no secret of the provider's."""
ANSWER_BYTES: Final = 256 << 10
ANSWER_S: Final = 10.0
KNOWN_S: Final = 600.0
"""What the provider said of itself is asked again after so long."""
KEYS_AGAIN_S: Final = 30.0
"""An unknown key is asked for no more often than this: strangers may name any key."""
CLOCKS_S: Final = 60.0
"""The two clocks may differ so much."""
TOKEN_CHARS: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Metadata:
    issuer: str
    authorization: str
    token: str
    keys: str


class Provider:
    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._turn = asyncio.Lock()

    async def metadata(self) -> Metadata:
        async with self._turn:
            if self._metadata is None or time.monotonic() - self._metadata[0] > KNOWN_S:
                self._metadata = (time.monotonic(), await self._discover())
            return self._metadata[1]

    async def _discover(self) -> Metadata:
        issuer = self._settings.oidc_issuer
        said = await self._ask("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise _unusable(f"it calls itself {str(said.get('issuer'))[:200]!r}, and not {issuer!r}")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        for name in names:
            place = urlsplit(str(said.get(name, "")))
            if place.scheme != "https" or not place.hostname or place.username is not None:
                raise _unusable(f"its {name} is no https address")
        return Metadata(issuer, *(str(said[name]) for name in names))

    async def exchange(self, code: str, verifier: str, answer_url: str) -> str:
        """The id token for a code; good once."""
        metadata = await self.metadata()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": answer_url,
            "code_verifier": verifier,
        }
        client = (
            quote(self._settings.oidc_client_id, safe=""),
            quote(secret_of(self._settings.oidc_secret_file), safe=""),
        )
        said = await self._ask("POST", metadata.token, data=fields, auth=client)
        return str(said.get("id_token", ""))

    async def claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What the token says, when it is the provider's, for us, for this sign-in, and in time. HttpError 401 says
        which of these it is not."""
        if len(token) > TOKEN_CHARS:
            raise refused("its token is too large")
        try:
            read = jwt.decode(token, await self._keys_for(token), algorithms=ALGORITHMS)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise refused(f"its token is not signed as it has to be ({type(error).__name__})") from None
        self._check(read.claims, nonce)
        return read.claims

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        client, now = self._settings.oidc_client_id, time.time()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires, issued = _time(claims.get("exp")), _time(claims.get("iat"))
        if claims.get("iss") != self._settings.oidc_issuer:
            raise refused("its token is of another issuer")
        if client not in audiences or (len(audiences) > 1 and claims.get("azp") != client):
            raise refused("its token is for another client")
        if expires is None or expires < now - CLOCKS_S:
            raise refused("its token has expired, or the clocks differ")
        if issued is None or issued > now + CLOCKS_S:
            raise refused("its token is of the future: the clocks differ")
        if claims.get("nonce") != nonce:
            raise refused("its token is not for this sign-in")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise refused("its token names nobody")

    async def _keys_for(self, token: str) -> KeySet:
        """Those that are known, asked for again when the token's is not among them."""
        wanted = jwt_header(token).get("kid")
        async with self._turn:
            at_s, keys = self._keys or (float("-inf"), None)
            age_s = time.monotonic() - at_s
            unknown = keys is None or (wanted is not None and wanted not in {key.kid for key in keys.keys})
            if keys is not None and age_s <= KNOWN_S and not (unknown and age_s > KEYS_AGAIN_S):
                return keys
            metadata = self._metadata[1] if self._metadata else await self._discover()
            said = await self._ask("GET", metadata.keys)
            try:
                keys = KeySet.import_key_set(said)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError, AttributeError):
                raise _unusable("what it calls its keys are none") from None
            self._keys = (time.monotonic(), keys)
            return keys

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """JSON; a redirect is none."""
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._client() as client,
                client.stream(method, url, **more) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES:
                        raise _unusable("its answer is too large")
            said = json.loads(body) if answer.status_code == 200 else None
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise _unusable(f"it does not answer ({type(error).__name__})") from None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            if method == "POST":
                raise refused("it did not take the code")
            raise _unusable(f"it answers {answer.status_code} and no JSON")
        return said

    def _client(self) -> httpx.AsyncClient:
        ca = self._settings.oidc_ca
        trust = ssl.create_default_context(cafile=str(ca) if ca else None)
        return httpx.AsyncClient(verify=trust, trust_env=False, follow_redirects=False, timeout=ANSWER_S)


def jwt_header(token: str) -> Mapping[str, Any]:
    """Before anything of it is trusted."""
    from joserfc.util import to_bytes, urlsafe_b64decode

    header = json.loads(urlsafe_b64decode(to_bytes(token.partition(".")[0])))
    if not isinstance(header, dict):
        raise TypeError("no header")
    return header


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def refused(why: str) -> HttpError:
    return HttpError(401, "refused-by-provider", f"the OpenID provider did not sign you in: {why}")


def _unusable(why: str) -> HttpError:
    return HttpError(
        503, "provider", f"the OpenID provider cannot be used: {why}", hint="local users can sign in all the same"
    )
