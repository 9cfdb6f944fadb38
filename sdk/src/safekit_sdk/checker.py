"""A checker observes and says up or down; it never acts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, TypeVar

from safekit_sdk.config import CheckerConfig
from safekit_sdk.plugin import Plugin
from safekit_sdk.verdict import Verdict

K = TypeVar("K", bound=CheckerConfig)


class Checker(Plugin[K]):
    """Implement `check` (asked every `interval`), or `watch` (says so the instant it knows), or both.

    Exceptions and time-outs are verdicts `unknown`; a checker says `down` only when it has seen that the
    thing it watches is down.
    """

    facts: ClassVar[Mapping[str, str]] = {}
    """What the facts of its verdicts mean, by name, for its page: `{"latency_ms": "from the question to the answer"}`.
    `*` stands for those whose names what it watches decides."""

    async def check(self) -> Verdict:
        """One look. Called every `interval`, never twice at a time, cancelled after `timeout`."""
        raise NotImplementedError

    def watch(self) -> AsyncIterator[Verdict]:
        """Yield a verdict whenever the health may have changed. Runs until cancelled; must not block the loop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give back what was opened. Called once, also after a failure."""

    @classmethod
    def checks(cls) -> bool:
        return cls.check is not Checker.check

    @classmethod
    def watches(cls) -> bool:
        return cls.watch is not Checker.watch
