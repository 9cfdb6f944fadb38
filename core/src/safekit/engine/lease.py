"""What a node knows of its right to be primary. The protocol is in `right`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Right:
    epoch: int = 0
    """Of the lease that the witness gave this node; 0 for none."""
    until_s: float = -math.inf
    """Until when the witness gives it to nobody else, as far as this node's clock can be trusted."""
    promised_s: float = -math.inf
    """Until when the peer does not take over, by what it had promised before its report last changed in this role:
    nothing that it says later takes that back."""
    stopping_s: float = math.inf
    """Since when it is stopped by force, because its right has ended."""
    by_force: bool = False
    """The operator answers for it that nobody else runs the module."""
    fenced: bool = False
    """The node was to be reset."""
    number: int = 0
    """Of the last call to the witness."""
    call: str = ""
    """The one under way; empty for none."""
    asked_s: float = -math.inf
    due_s: float = -math.inf
    """When its answer is due."""
    next_s: float = -math.inf
    """When the next one is."""
    eager: bool = False
    """The last one was no mere probe."""
    failures: int = 0
    """Calls in a row that did not reach the witness."""
    trouble: str = ""
    """Why there is no lease."""


NO_RIGHT: Final = Right()
