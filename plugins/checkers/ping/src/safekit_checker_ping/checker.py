"""Up while enough of some addresses answer to ICMP echo."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from safekit_checker_ping import echo
from safekit_sdk import Checker, CheckerConfig, Duration, FailureAction, ModuleKind, Scope, Verdict
from safekit_sdk.connect import OwnTroubleError, SilentError

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:][A-Za-z0-9_.:%-]*$", max_length=253)]


def _is_address(text: str) -> str:
    ip_address(text)
    return text


Address = Annotated[str, BeforeValidator(_is_address)]


class PingConfig(CheckerConfig):
    hosts: tuple[Host, ...] = Field(min_length=1, max_length=16)
    """Addresses or names, asked at the same time: routers, switches, servers that are always there."""
    need: Literal["any", "all"] | int = "any"
    """How many of them must answer for up: any (one), all, or a number."""
    count: int = Field(default=3, ge=1, le=20)
    """Echo requests to each, spread over the time; one answer is enough."""
    source: Address | None = None
    """The address of this node that asks; the usual one when absent."""
    interval: Duration = Duration(10)
    """Time from the start of one check to the start of the next."""
    timeout: Duration = Duration(5)
    """A check that takes longer is killed and counts as unknown; nine tenths of it are given to the hosts."""
    when: Scope | None = "pre"
    """From before the module starts, so that a node without a network does not become primary."""
    action: FailureAction = "wait"
    """What the generated rule does when the verdict is down."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if isinstance(self.need, int) and not 1 <= self.need <= len(self.hosts):
            raise ValueError(f"need: {self.need} cannot be met by {len(self.hosts)} hosts")
        if len(set(self.hosts)) != len(self.hosts):
            raise ValueError("a host is named twice in hosts")
        return self

    @property
    def needed(self) -> int:
        if isinstance(self.need, int):
            return self.need
        return len(self.hosts) if self.need == "all" else 1


class PingChecker(Checker[PingConfig], api=1):
    """Up while enough of some addresses answer to ICMP echo (ping)."""

    facts: ClassVar[Mapping[str, str]] = {"*": "each host that was asked: how long its answer took, or what was wrong"}

    async def check(self) -> Verdict:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        hosts = self.config.hosts
        answers = await asyncio.gather(*map(self._ask, hosts))
        good = {host: a for host, a in zip(hosts, answers, strict=True) if isinstance(a, float)}
        doubtful = {host: a for host, a in zip(hosts, answers, strict=True) if isinstance(a, OwnTroubleError)}
        silent = {host: a for host, a in zip(hosts, answers, strict=True) if isinstance(a, SilentError)}
        facts = {**{h: f"{ms:.1f} ms" for h, ms in good.items()}, **{h: str(a) for h, a in (silent | doubtful).items()}}
        told = "; ".join(f"{host}: {answer}" for host, answer in {**silent, **doubtful}.items())
        if len(good) >= self.config.needed:
            answered = ", ".join(f"{host} ({ms:.1f} ms)" for host, ms in good.items())
            return Verdict.up(f"answered: {answered}{f'; {told}' if told else ''}", **facts)
        if len(good) + len(doubtful) >= self.config.needed:
            return Verdict.unknown(told)
        if loop.time() - began_s > self.config.timeout.seconds:
            return Verdict.unknown(f"{told}; but this node stood still")
        return Verdict.down(f"{len(good)} of {len(hosts)} answer, wanted {self.config.needed}: {told}", **facts)

    async def _ask(self, host: str) -> float | SilentError | OwnTroubleError:
        try:
            return await echo.ask(host, self.config.count, self.config.patience_s, self.config.source)
        except (SilentError, OwnTroubleError) as answer:
            return answer

    @classmethod
    def ident(cls, config: PingConfig) -> str:
        """The first host."""
        if config.name:
            return config.name
        text = re.sub(r"[^A-Za-z0-9_.:-]", "_", config.hosts[0])[:63]
        return f"_{text[:62]}" if text.startswith(":") else text

    @classmethod
    def preflight(cls, config: PingConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        families = {"::1" if ":" in host else "127.0.0.1" for host in config.hosts}
        return [echo.LACKS_RIGHT] if not all(map(echo.may_ask, families)) else []
