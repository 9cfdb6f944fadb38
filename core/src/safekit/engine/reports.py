"""What nodes tell each other in every heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ModuleState(StrEnum):
    STOP = "STOP"
    WAIT = "WAIT"
    ALONE = "ALONE"
    PRIM = "PRIM"
    SECOND = "SECOND"
    UP = "UP"


class Readiness(StrEnum):
    NOT_READY = "NotReady"
    TRANSIENT = "Transient"
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """One module on one node, as its engine published it (after it was made durable)."""

    state: ModuleState
    readiness: Readiness
    epoch: int
    """The highest epoch of a primary that this node knows of."""
    active: bool
    """True from before the first resource of the primary starts until after the last one has stopped."""
    was_primary: bool
    """It was the primary of `epoch`."""
    took_over: bool = False
    """It became primary because its peer was silent, and has not heard the peer's answer since."""
    doubtful: bool = False
    """It was frozen or starved for longer than the loss time since it last heard its peer."""
    handover: bool = False
    """A swap: it has stopped being primary so that the receiver of this report becomes primary."""
    claim: int = 0
    """Non-zero: it wants to become primary, and does when the receiver has acknowledged this number."""
    acknowledged: int = 0
    """The last claim heard from the peer. While it stands, the sender neither claims nor becomes primary."""
    up_to_date: bool = True
    failover: bool = True
    signature: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Bounded by the number of modules of the cluster (1,000)."""

    node: str
    incarnation: int
    """Grows with every start of the daemon on that node (kept durable)."""
    sequence: int
    """Grows with every heartbeat of an incarnation, shared by all networks."""
    modules: tuple[tuple[str, ModuleReport], ...] = ()
    heard: tuple[tuple[str, int], ...] = ()
    """The last sequence heard from each node, so that one-way loss is seen from both sides."""
