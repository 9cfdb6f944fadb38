"""How much the tests of delivery do: a part of it in each run of the tests, all of it with SAFEKIT_PROOF=full (`make
proof`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Counts:
    packets: int
    """UDP packets, for each mode and family."""
    connections: int
    """TCP connections, likewise."""
    begun: int
    """Connections that begin while the map changes."""
    rebalances: int
    """Changes of the map meanwhile."""
    held: int
    """Connections that stay open over joins, leaves and weight changes."""
    patience_s: float
    """How long an answer may take on a machine that has other work to do."""
    bound_s: float
    """The longest that one program of clients may run; the leases are as long."""


QUICK: Final = Counts(1000, 200, 1000, 12, 80, 2.0, 60.0)
FULL: Final = Counts(100_000, 100_000, 60_000, 100, 800, 20.0, 3000.0)
COUNTS: Final = FULL if os.environ.get("SAFEKIT_PROOF") == "full" else QUICK
