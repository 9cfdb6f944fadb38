"""What a primary is, what it is to its secondary, and what its settings are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

PATIENCE: Final = 3
"""How many times longer than usual a secondary may take to look for marks, or to sync everything."""
ONLY_SYNC: Final = 0
"""Number of a checkpoint that clears nothing."""


@unique
class Mode(Enum):
    WRITE = "write"
    ORDERED = "ordered"
    WRITEBACK = "writeback"


@unique
class State(Enum):
    IDLE = "idle"
    ALONE = "alone"
    SYNCING = "syncing"
    PAIRED = "paired"
    HOLDING = "holding"


@unique
class Gate(Enum):
    """What `touch` says."""

    GO = "go"
    WAIT = "wait"
    """Ask again after the effect Wake."""
    REFUSED = "refused"
    """EROFS: it is not primary, or not any more."""
    FAILED = "failed"
    """EIO: what has to be durable before a modification cannot be written."""


@unique
class Role(Enum):
    IDLE = "idle"
    PRIMARY = "primary"
    LEAVING = "leaving"


@unique
class Link(Enum):
    NONE = "none"
    GREETING = "greeting"
    SYNCING = "syncing"
    PAIRING = "pairing"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Limits:
    window_changes: int = 4096
    window_bytes: int = 64 << 20
    timeout_s: float = 5.0
    """A peer that says nothing for so long is dropped."""
    stall_s: float = 20.0
    """A peer that speaks, but does not do its work for so long, is dropped too."""
    resync_bytes_per_s: float = 0.0
    """0: no limit."""
    checkpoint_s: float = 30.0


DEFAULTS: Final = Limits()
