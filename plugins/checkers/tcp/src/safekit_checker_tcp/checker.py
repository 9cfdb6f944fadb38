"""Up while a connection to host:port opens within the timeout, and the service answers as expected."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from safekit_checker_tcp.conversation import converse
from safekit_sdk import Checker, CheckerConfig, Port, Verdict
from safekit_sdk.connect import OwnTroubleError, SilentError, connect

_LOCAL = ("127.0.0.1", "::1", "localhost")

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:][A-Za-z0-9_.:%-]*$", max_length=253)]
Text = Annotated[str, Field(min_length=1, max_length=1024)]


class TcpConfig(CheckerConfig):
    host: Host = "127.0.0.1"
    """Address or name. A name that does not resolve is unknown, not down."""
    port: Port
    """Where the service listens."""
    send: Text | None = None
    """Sent as UTF-8 once the connection is open. Write its line ending: `"PING\\r\\n"`."""
    expect: Text | None = None
    """What the first 64 KiB of the answer must contain; without `send`, what the greeting must."""

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TcpChecker(Checker[TcpConfig], api=1):
    """Up while a connection to host:port opens within the timeout, and the service answers as expected."""

    facts: ClassVar[Mapping[str, str]] = {
        "address": "where it was connected to",
        "latency_ms": "until the connection was open and the answer, if one is wanted, was there",
        "error": "what was wrong",
        "waited_ms": "from the attempt until it was called down",
    }

    async def check(self) -> Verdict:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            opened_s = await self._look(began_s + self.config.patience_s)
        except OwnTroubleError as trouble:
            return Verdict.unknown(f"{self.config.where} could not be looked at: {trouble}")
        except SilentError as seen:
            return self._down(str(seen), loop.time() - began_s)
        answers = "" if self.config.expect is None else " and answers as expected"
        latency_ms = (opened_s - began_s) * 1000
        reason = f"{self.config.where} accepts connections{answers}"
        return Verdict.up(reason, address=self.config.where, latency_ms=f"{latency_ms:.1f}")

    async def _look(self, deadline_s: float) -> float:
        """When the connection was open, on the loop's clock."""
        loop = asyncio.get_running_loop()
        send, expect = self.config.send or "", self.config.expect or ""
        with await connect(self.config.host, self.config.port, deadline_s - loop.time()) as connection:
            opened_s = loop.time()
            if send or expect:
                await converse(connection, send.encode(), expect.encode(), deadline_s - opened_s)
        return opened_s

    def _down(self, error: str, took_s: float) -> Verdict:
        where = self.config.where
        if took_s > self.config.timeout.seconds:
            return Verdict.unknown(f"{where}: {error}; but this node stood still, the look took {took_s:.1f} s")
        return Verdict.down(f"{where}: {error}", address=where, error=error, waited_ms=f"{took_s * 1000:.1f}")

    @classmethod
    def ident(cls, config: TcpConfig) -> str:
        """`5432` on this node, `db.example.org.5432` elsewhere."""
        if config.name:
            return config.name
        if config.host in _LOCAL:
            return str(config.port)
        text = re.sub(r"[^A-Za-z0-9_.:-]", "_", config.host)[:56]
        return f"{'_' if text.startswith(':') else ''}{text}.{config.port}"
