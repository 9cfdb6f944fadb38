"""How weighty a decision is, as safekitd says it."""

from __future__ import annotations

from typing import Final, Literal

Severity = Literal["info", "warning", "alarm"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "alarm")
"""In order of weight."""
