"""How much one cluster may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_MEMORY_BYTES: Final = 384 << 20
"""What the process may have: more can only be messages without an end, which the transport collects."""

RATE_PER_S: Final = 2000.0
BURST: Final = 4000.0
"""A thousand modules of which both nodes ask twice at once."""


@dataclass(slots=True)
class Allowance:
    """A bucket that fills by `rate_per_s` up to `burst`; each request takes one."""

    now_s: float
    rate_per_s: float = RATE_PER_S
    burst: float = BURST
    left: float = BURST
    refused: int = 0
    """Since it was last asked for."""

    def take(self, now_s: float) -> bool:
        self.left = min(self.burst, self.left + (now_s - self.now_s) * self.rate_per_s)
        self.now_s = now_s
        if self.left < 1:
            self.refused += 1
            return False
        self.left -= 1
        return True

    def take_refused(self) -> int:
        """How many were refused since the last call."""
        refused, self.refused = self.refused, 0
        return refused


@dataclass(slots=True)
class MemoryLimit:
    """A message of endless parts is bounded by nothing in the transport but the end of its connection."""

    limit_bytes: int = MAX_MEMORY_BYTES

    def is_over(self, used_bytes: int) -> bool:
        return used_bytes > self.limit_bytes

    def settle(self, used_bytes: int) -> None:
        """All connections are dropped, and so much is still in use: it counts as ours, or there would be no end."""
        self.limit_bytes = max(MAX_MEMORY_BYTES, used_bytes + MAX_MEMORY_BYTES // 2)
