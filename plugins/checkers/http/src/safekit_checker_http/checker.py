"""Up while a web server answers a question as it should."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

from safekit_checker_http import tls
from safekit_checker_http.config import HttpConfig
from safekit_checker_http.exchange import Question, Reply, ask
from safekit_sdk import Checker, ConfigError, Context, Secret, Verdict
from safekit_sdk.connect import OwnTroubleError, SilentError

_SHOWN_BYTES = 60


class HttpChecker(Checker[HttpConfig], api=1):
    """Up while a web server answers a question with the status, and the body, that it should."""

    facts: ClassVar[Mapping[str, str]] = {
        "status": "of the answer",
        "latency_ms": "from the question to the end of the answer, redirects included",
        "certificate_days": "how long the server's certificate is still good",
        "url": "what was asked for",
        "error": "what was wrong",
        "waited_ms": "from the question until it was called down",
    }

    agent: ClassVar[str] = "safekit"

    def __init__(self, config: HttpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._tls: ssl.SSLContext | None = None
        self._warned_days: int | None = None

    async def check(self) -> Verdict:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            reply, url = await self._ask(began_s + self.config.patience_s)
            self._judge(reply, loop.time() - began_s)
        except OwnTroubleError as trouble:
            return Verdict.unknown(f"{self.config.url} could not be asked: {trouble}")
        except SilentError as seen:
            return self._down(str(seen), loop.time() - began_s)
        facts = {"status": str(reply.status), "latency_ms": f"{(loop.time() - began_s) * 1000:.1f}"}
        if reply.days_left is not None:
            facts["certificate_days"] = f"{reply.days_left:.1f}"
        return Verdict.up(f"{url} answers {reply.status}{self._warning(reply.days_left)}", **facts)

    def _warning(self, days_left: float | None) -> str:
        """Also to the module's log, once for each day that is left."""
        bound = self.config.warn_certificate_days
        if days_left is None or bound is None or days_left >= bound:
            return ""
        if self._warned_days != int(days_left):
            self._warned_days = int(days_left)
            self.context.log(f"warning: the certificate of {self.config.url} is good for {days_left:.1f} days")
        return f"; its certificate is good for {days_left:.1f} days only"

    async def _ask(self, deadline_s: float) -> tuple[Reply, str]:
        """The last answer, redirects followed, and where it came from."""
        loop = asyncio.get_running_loop()
        url = self.config.url
        for left in range(self.config.redirects, -1, -1):
            reply = await ask(await self._question(url), max(deadline_s - loop.time(), 0.0))
            if not (left and 300 <= reply.status < 400 and reply.location):
                break
            url = self._followed(url, reply.location)
        return reply, url

    def _followed(self, url: str, location: str) -> str:
        """Within the same host only: the secrets in the headers are for it."""
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise SilentError(f"it redirects to another server, {there.scheme}://{there.netloc}, which is not followed")
        return target

    async def _question(self, url: str) -> Question:
        parts = urlsplit(url)
        if parts.scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(tls.context, self.config)
        name = self.config.host or parts.netloc
        headers = {"Host": name, "User-Agent": self.agent, "Accept": "*/*", "Connection": "close"}
        headers |= {name.title(): self._revealed(value) for name, value in self.config.headers.items()}
        server_name = (self.config.host or "").partition(":")[0] or (parts.hostname or "")
        secured = self._tls if parts.scheme == "https" else None
        return Question(url, self.config.method, headers, server_name, secured, self.config.socket)

    @staticmethod
    def _revealed(value: Secret | str) -> str:
        try:
            return value.reveal() if isinstance(value, Secret) else value
        except ConfigError as error:
            raise OwnTroubleError(f"{error.message}; {error.hint}".removesuffix("; ")) from None

    def _judge(self, reply: Reply, took_s: float) -> None:
        """SilentError for what is wrong with the answer."""
        config = self.config
        if not config.is_good(reply.status):
            raise SilentError(f"it answers {reply.status}, wanted {', '.join(config.status)}")
        if config.body is not None and not re.search(config.body, reply.body.decode(errors="replace")):
            start = reply.body[:_SHOWN_BYTES].decode("ascii", errors="backslashreplace")
            raise SilentError(f"/{config.body}/ is not in its answer, which begins {start!r}")
        if config.slow is not None and took_s > config.slow.seconds:
            raise SilentError(f"it took {took_s * 1000:.0f} ms to answer, {config.slow} are allowed")
        least = config.min_certificate_days
        if least is not None and reply.days_left is not None and reply.days_left < least:
            raise SilentError(f"its certificate is good for {reply.days_left:.1f} days, at least {least} are wanted")

    def _down(self, error: str, took_s: float) -> Verdict:
        url = self.config.url
        if took_s > self.config.timeout.seconds:
            return Verdict.unknown(f"{url}: {error}; but this node stood still, the question took {took_s:.1f} s")
        return Verdict.down(f"{url}: {error}", url=url, error=error, waited_ms=f"{took_s * 1000:.1f}")

    @classmethod
    def ident(cls, config: HttpConfig) -> str:
        """`127.0.0.1_health` for `http://127.0.0.1/health`."""
        if config.name:
            return config.name
        text = re.sub(r"[^A-Za-z0-9_.-]+", "_", config.url.partition("://")[2]).strip("_")
        return text[:63] or "default"
