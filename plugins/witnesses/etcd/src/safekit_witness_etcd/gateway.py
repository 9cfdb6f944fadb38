"""One call of etcd's JSON gateway: the endpoints in turn, the token, limits of time and size."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import ValidationError

from safekit_sdk import ConfigError, PeerError
from safekit_witness_etcd.config import EtcdConfig
from safekit_witness_etcd.tls import make_context
from safekit_witness_etcd.wire import A, Token, Trouble

MAX_ANSWER_BYTES: Final = 64 * 1024
_LIMITS: Final = httpx.Limits(max_connections=32, max_keepalive_connections=9, keepalive_expiry=60.0)
_HEADERS: Final = {"content-type": "application/json", "accept-encoding": "identity"}
_NOT_FOUND, _DENIED, _NOT_ENABLED, _NO_TOKEN = 5, 7, 9, 16
"""Codes of gRPC."""
_WITHOUT_TOKEN: Final = ("user name is empty", "revision of auth store is old", "invalid auth token")
_WRONG_PASSWORD: Final = "authentication failed"
_FINAL: Final = frozenset((3, _NOT_FOUND, 6, _DENIED, _NOT_ENABLED, 11, 12, _NO_TOKEN))
"""Another member would say the same."""


class SaidNoError(Exception):
    """etcd answered with an error that all members would give."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.code = trouble.code

    @property
    def lacks_token(self) -> bool:
        return self.code == _NO_TOKEN or any(text in str(self) for text in _WITHOUT_TOKEN)


class _NextError(Exception):
    """This endpoint is of no use now; its text says why."""


@dataclass(slots=True)
class _Session:
    """Connections of one reading of the certificates. Closed when nobody uses it any more: a client that is closed
    under a request that still connects would leave the socket open."""

    client: httpx.AsyncClient
    users: int = 0
    is_over: bool = False

    async def end(self) -> None:
        self.is_over = True
        if not self.users:
            await self.client.aclose()


class Gateway:
    """A connection is kept open to every endpoint that answered, at most 32 in all."""

    def __init__(self, config: EtcdConfig) -> None:
        self._config = config
        self._endpoints = list(config.endpoints)
        """The one that answered last is the first."""
        self._session: _Session | None = None
        self._token: str | None = None
        """Empty when etcd says that it has no users; None when it is not known."""
        self._cluster_id = 0

    async def call(self, path: str, body: Mapping[str, Any], model: type[A], deadline_s: float) -> A:
        """The answer, before `deadline_s` of the loop's clock. An endpoint that does not answer gets an equal share of
        the time that is left, so that each of them is asked. PeerError when none answers, ConfigError when etcd
        does not let us in. A call that ends in an error may have had its effect, even twice."""
        loop = asyncio.get_running_loop()
        silent: list[str] = []
        endpoints = tuple(self._endpoints)
        for number, endpoint in enumerate(endpoints):
            share_s = max(deadline_s - loop.time(), 0.0) / (len(endpoints) - number)
            try:
                async with asyncio.timeout(share_s):
                    raw = await self._ask(endpoint, path, body)
                answer = self._read(raw, model)
            except TimeoutError:
                silent.append(f"{endpoint}: {f'no answer within {share_s:.2f} s' if share_s else 'no time was left'}")
            except _NextError as error:
                silent.append(f"{endpoint}: {error}")
            else:
                self._check_cluster(endpoint, answer)
                self._prefer(endpoint)
                return answer
        await self.close()
        hint = "look whether its members run and agree, and with https whether it takes this node's certificate"
        raise PeerError(f"etcd does not answer: {'; '.join(silent)}", hint=hint)

    def _prefer(self, endpoint: str) -> None:
        self._endpoints.sort(key=lambda one: one != endpoint)

    def _check_cluster(self, endpoint: str, answer: A) -> None:
        """Two clusters would give two leases."""
        seen = answer.header.cluster_id
        self._cluster_id = self._cluster_id or seen
        if seen != self._cluster_id:
            raise ConfigError(
                f"{endpoint} is a member of the etcd cluster {seen:x}; {self._cluster_id:x} was asked before",
                hint="name the members of one cluster in endpoints; after a cluster was made anew, restart the module",
            )

    async def _ask(self, endpoint: str, path: str, body: Mapping[str, Any]) -> bytes:
        """With a token, and with a new one when etcd no longer takes the one we have."""
        for is_last in (False, True):
            try:
                if self._config.user and self._token is None:
                    self._token = await self._authenticate(endpoint)
                return await self._post(endpoint, path, body, self._token or "")
            except SaidNoError as error:
                if is_last or not (self._config.user and error.lacks_token):
                    raise self._explained(error) from None
                self._token = None
        raise AssertionError("unreachable")

    async def _authenticate(self, endpoint: str) -> str:
        assert self._config.user and self._config.password
        secret = {"name": self._config.user, "password": self._config.password.reveal()}
        try:
            return self._read(await self._post(endpoint, "/v3/auth/authenticate", secret, ""), Token).token
        except SaidNoError as error:
            if error.code == _NOT_ENABLED:
                return ""
            raise

    def _explained(self, error: SaidNoError) -> Exception:
        """What the operator can mend says so; the rest is the caller's."""
        user = self._config.user
        if user and _WRONG_PASSWORD in str(error):
            return ConfigError(f"etcd does not know the user {user} with this password", hint="correct user, password")
        if user and error.code == _DENIED:
            hint = f"grant the user {user} a role with readwrite on the prefix {self._config.prefix}"
            return ConfigError(f"the user {user} of etcd may not use {self._config.prefix}", hint=hint)
        if error.lacks_token:
            return ConfigError(f"etcd lets only its users in ({error})", hint="give user and password")
        return error

    async def _post(self, endpoint: str, path: str, body: Mapping[str, Any], token: str) -> bytes:
        """The body of a good answer. SaidNoError, or _NextError where another endpoint may do better."""
        headers = _HEADERS | ({"authorization": token} if token else {})
        sent: dict[str, Any] = {"content": json.dumps(body).encode(), "headers": headers}
        try:
            async with self._client() as client, client.stream("POST", endpoint + path, **sent) as response:
                raw = await _limited(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise _NextError(_why(error)) from None
        if response.status_code == httpx.codes.OK:
            return raw
        try:
            trouble = Trouble.model_validate_json(raw)
        except ValidationError:
            raise _NextError(f"HTTP status {response.status_code}, not from etcd's v3 gateway") from None
        if trouble.code in _FINAL:
            raise SaidNoError(trouble)
        raise _NextError(trouble.message or f"HTTP status {response.status_code}")

    def _read(self, raw: bytes, model: type[A]) -> A:
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise _NextError(f"an answer that is not etcd's ({place or 'not JSON'})") from None

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        session = self._session = self._session or _Session(self._opened())
        session.users += 1
        try:
            yield session.client
        finally:
            session.users -= 1
            if session.is_over:
                await session.end()

    def _opened(self) -> httpx.AsyncClient:
        has_tls = any(endpoint.startswith("https:") for endpoint in self._endpoints)
        verify: ssl.SSLContext | bool = make_context(self._config) if has_tls else False
        return httpx.AsyncClient(verify=verify, timeout=None, trust_env=False, limits=_LIMITS)

    async def close(self) -> None:
        """A call after it opens connections anew, and reads the certificates, which may have been replaced."""
        session, self._session = self._session, None
        if session:
            await session.end()


async def _limited(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for part in response.aiter_raw():
        raw += part
        if len(raw) > MAX_ANSWER_BYTES:
            raise _NextError(f"an answer of more than {MAX_ANSWER_BYTES // 1024} KiB")
    return bytes(raw)


def _why(error: Exception) -> str:
    """httpx and what it is made of often leave the reason to the cause."""
    causes: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(causes) < 6:
        if text := str(seen).strip():
            causes.append(text)
        seen = seen.__cause__ or seen.__context__
    return (causes[-1] if causes else type(error).__name__)[:300]
