"""A finding, and how several become a list that is read from the top."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    ALARM = "alarm"
    """Something does not work, or may be lost now."""
    WARNING = "warning"
    """It works, and one more failure, or a known one, would hurt."""
    NOTE = "note"
    """Good to know; nothing has to be done."""


ALARM: Final = Severity.ALARM
WARNING: Final = Severity.WARNING
NOTE: Final = Severity.NOTE
SHOWN_NODES: Final = 5
_ORDER: Final = tuple(Severity)


class Finding(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    severity: Severity
    name: str
    """The same for every finding of this kind, for programs: `witness-unreachable`."""
    what: str
    why: str
    """What it means, in one sentence."""
    mend: str
    """The command or the setting."""
    nodes: tuple[str, ...] = ()
    """Where; empty for the whole cluster."""
    module: str = ""

    @property
    def where(self) -> str:
        more = len(self.nodes) - SHOWN_NODES
        place = ", ".join(self.nodes[:SHOWN_NODES]) + (f" and {more} more" if more > 0 else "")
        return f"{self.module} on {place}" if self.module and place else self.module or place or "cluster"


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same thing on several nodes once; by severity, and within one as the checks came."""
    merged: dict[tuple[str, ...], Finding] = {}
    for one in found:
        key = (one.severity, one.name, one.what, one.why, one.mend, one.module)
        before = merged.get(key)
        nodes = one.nodes if before is None else before.nodes + tuple(n for n in one.nodes if n not in before.nodes)
        merged[key] = one.model_copy(update={"nodes": nodes})
    return tuple(sorted(merged.values(), key=lambda one: _ORDER.index(one.severity)))


def size(amount_bytes: float) -> str:
    """As people write it: `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount_bytes < 1024:
            return f"{amount_bytes:.0f} bytes" if unit == "bytes" else f"{amount_bytes:.1f} {unit}"
        amount_bytes /= 1024
    return f"{amount_bytes:.1f} TiB"


def span(seconds: float) -> str:
    """`3 days`, `2 h`, `5 min`, `1.5 s`, `80 ms`."""
    for unit, length_s in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.1f} s" if abs(seconds) >= 1 else f"{seconds * 1000:.0f} ms"


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def by_node(values: dict[str, str]) -> str:
    """`0.1.0 on node1 and node2, missing on node3`."""
    shown = dict.fromkeys(values.values())
    return ", ".join(f"{value} on {_names([n for n, v in values.items() if v == value])}" for value in shown)


def _names(nodes: list[str]) -> str:
    more = len(nodes) - SHOWN_NODES
    return " and ".join(nodes) if more <= 0 else f"{', '.join(nodes[:SHOWN_NODES])} and {more} more"
