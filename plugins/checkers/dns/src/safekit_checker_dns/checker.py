"""Up while a DNS server resolves a name as it should."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from safekit_checker_dns.config import DnsConfig
from safekit_checker_dns.exchange import ask
from safekit_checker_dns.message import Answer
from safekit_checker_dns.names import presented
from safekit_sdk import Checker, Verdict
from safekit_sdk.connect import OwnTroubleError, SilentError

_SHOWN = 4
_SHOWN_CHARS = 200


class DnsChecker(Checker[DnsConfig], api=1):
    """Up while a DNS server resolves a name, to the answers that are expected of it."""

    facts: ClassVar[Mapping[str, str]] = {
        "answers": "what the name resolves to",
        "transport": "udp or tcp",
        "latency_ms": "from the question to the answer",
        "server": "who was asked",
        "error": "what was wrong with the answer",
        "waited_ms": "from the question until it was called down",
    }

    async def check(self) -> Verdict:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            answer, carrier = await ask(self.config, began_s + self.config.patience_s)
            took_s = loop.time() - began_s
            self._judge(answer, took_s)
        except OwnTroubleError as trouble:
            return Verdict.unknown(f"{self._where} could not be asked: {trouble}")
        except SilentError as seen:
            return self._down(str(seen), loop.time() - began_s)
        facts = {"answers": _shown(answer.values), "transport": carrier, "latency_ms": f"{took_s * 1000:.1f}"}
        return Verdict.up(f"{self._where} resolves {self._asked} to {facts['answers']}", **facts)

    @property
    def _where(self) -> str:
        server = self.config.server
        return f"[{server}]:{self.config.port}" if ":" in server else f"{server}:{self.config.port}"

    @property
    def _asked(self) -> str:
        return f"{self.config.query} ({self.config.record})"

    def _judge(self, answer: Answer, took_s: float) -> None:
        """SilentError for what is wrong with the answer."""
        if answer.trouble:
            raise SilentError(f"answers {answer.trouble}")
        if not answer.values:
            aliases = f"; it is an alias of {_shown(answer.aliases[-1:])}" if answer.aliases else ""
            raise SilentError(f"answers that there is no such record{aliases}")
        found = {_compared(self.config.record, value) for value in answer.values}
        missing = [text for text in self.config.expect if _compared(self.config.record, text) not in found]
        if missing:
            raise SilentError(f"answers {_shown(answer.values)}, without {_shown(missing)}")
        if self.config.slow is not None and took_s > self.config.slow.seconds:
            raise SilentError(f"took {took_s * 1000:.0f} ms to answer, {self.config.slow} are allowed")

    def _down(self, error: str, took_s: float) -> Verdict:
        reason = f"{self._where}, asked for {self._asked}: {error}"
        if took_s > self.config.timeout.seconds:
            return Verdict.unknown(f"{reason}; but this node stood still, the question took {took_s:.1f} s")
        return Verdict.down(reason, server=self._where, error=error, waited_ms=f"{took_s * 1000:.1f}")

    @classmethod
    def ident(cls, config: DnsConfig) -> str:
        """`10.0.0.53_www.example.org`."""
        if config.name:
            return config.name
        text = re.sub(r"[^A-Za-z0-9_.:-]", "_", f"{config.server}_{config.query}")[:63]
        return f"_{text[:62]}" if text.startswith(":") else text


def _compared(record: str, text: str) -> str:
    """Addresses by value, names whatever their case and with or without the last dot, texts as they are."""
    if record in ("A", "AAAA"):
        return str(ip_address(text))
    return text if record == "TXT" else presented(text)


def _shown(values: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(value[:_SHOWN_CHARS] for value in values[:_SHOWN]) + more
