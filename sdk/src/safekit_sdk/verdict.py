"""What a checker says, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Health(StrEnum):
    """`init` before the first answer, `unknown` when the checker itself failed or hung."""

    INIT = "init"
    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A health and one sentence of evidence, which `safekit why` shows to the operator."""

    health: Health
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def up(cls, reason: str = "", **facts: str) -> Verdict:
        return cls(Health.UP, reason, facts)

    @classmethod
    def down(cls, reason: str, **facts: str) -> Verdict:
        return cls(Health.DOWN, reason, facts)

    @classmethod
    def init(cls, reason: str = "") -> Verdict:
        return cls(Health.INIT, reason)

    @classmethod
    def unknown(cls, reason: str) -> Verdict:
        return cls(Health.UNKNOWN, reason)
