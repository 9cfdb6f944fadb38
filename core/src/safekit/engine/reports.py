"""What nodes tell each other in every heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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


NOBODY: Final = "."
FIRST: Final = "A"


@dataclass(frozen=True, slots=True)
class FarmMap:
    """Which node serves which bucket of a farm's clients, as its leader proposed it. Of two maps the one with the
    higher epoch holds; of the same epoch, that of the leader who comes first in the list of nodes."""

    epoch: int = 0
    """0: there is none yet."""
    leader: str = ""
    nodes: tuple[str, ...] = ()
    owners: str = ""
    """One character per bucket: FIRST for the first of `nodes`, the one after it for the second; NOBODY for none."""
    priors: tuple[str, ...] = ()
    """For each bucket the nodes that had it before and may still have connections of it, in the same characters;
    empty when that is none for any."""
    director: str = ""
    """The node that receives for all where only one can."""


NO_MAP: Final = FarmMap()


@dataclass(frozen=True, slots=True)
class FarmReport:
    map: FarmMap = NO_MAP
    """The newest that it knows."""
    held: int = 0
    """A bit for each bucket that its kernel accepts or may accept."""
    serving: bool = False
    """It runs, and is not about to stop: it wants its part of the buckets."""
    weight: int = 100
    places: tuple[tuple[str, str], ...] = ()
    """What its resources tell those of the other nodes, by the resource's identifier: a hardware address."""


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
    alone_epoch: int = 0
    """The last epoch in which a primary stood alone, or is about to, as far as the sender has noted durably."""
    failover: bool = True
    lease_s: float = 0.0
    """Not primary, it takes over from a peer that it heard only after so long; 0 where no witness decides."""
    signature: str = ""
    reason: str = ""
    places: tuple[tuple[str, str], ...] = ()
    """Of a mirror: what its resources tell those of the other node, by the resource's identifier."""
    values: tuple[tuple[str, str], ...] = ()
    """Of a mirror: the resources that rules of the receiver look at."""
    farm: FarmReport | None = None
    """Of a farm only."""


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
    time_s: float = 0.0
    """The sender's monotonic clock as it was sent."""
    echoes: tuple[tuple[str, int, float], ...] = ()
    """From each node the incarnation and `time_s` of the last heartbeat that was heard before the sender decided what
    is not in `modules` yet. What it promises to that node it promises from then on."""
    lost_after_s: float = 0.0
    """The sender's loss time, which its leases are part of."""
