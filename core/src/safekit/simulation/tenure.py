"""How a node came to be primary, and whether another may be it as well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

HEARD: Final = "heard"
GRANTED: Final = "granted"
UNHEARD: Final = "unheard"
CHOSEN: Final = "chosen"
"""How a node became primary: by the other's word; by a lease; the other being silent; by the operator, the other being
silent. The first two exclude each other."""


@dataclass(slots=True)
class Tenure:
    epoch: int
    how: str
    decided_s: float
    met_s: float = math.inf
    """When the nodes have heard each other again: from then on another has no excuse to run as well."""

    @property
    def excuse(self) -> str:
        return self.how if self.met_s == math.inf else HEARD

    def shares_epoch(self, earlier: Tenure) -> bool:
        """Of two that knew of each other, or of a lease."""
        apart = earlier.how not in {HEARD, GRANTED} and self.decided_s < earlier.met_s
        return self.epoch == earlier.epoch and self.how in {HEARD, GRANTED} and not apart
