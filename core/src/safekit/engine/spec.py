"""What the operator configured, as the engine needs it. Built by `safekit.config`; immutable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from safekit.engine.rules import Rule

DEFAULT_WEIGHT: Final = 100
MAX_WEIGHT: Final = 1_000_000


class Kind(StrEnum):
    MIRROR = "mirror"
    FARM = "farm"
    LIGHT = "light"


class IsolationPolicy(StrEnum):
    """What a secondary does when it has lost its primary and no lease witness can say who may run."""

    SAFETY = "safety"
    """Wait for the operator or the peer."""
    AVAILABILITY = "availability"
    """Take over; both nodes may then run at once if it was only the network that failed."""


class BootPolicy(StrEnum):
    AUTO = "auto"
    """Started at boot if it was started when the node went down."""
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class WitnessSpec:
    resource: str
    """Its name in rules and in the status: `splitbrain.lease`."""
    lease_s: float
    """How long a right to run lasts without being renewed; both nodes have the same."""
    timeout_s: float
    """A call that takes longer has not reached it."""
    exclusive: bool = True
    """Two leases at a time are impossible. False for what only sees whether this node is isolated."""


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    name: str
    kind: Kind
    nodes: tuple[str, ...]
    """The nodes that have the module, in the order of preference. A mirror has one or two."""
    rules: tuple[Rule, ...] = ()
    told: tuple[str, ...] = ()
    """What rules of the other node look at here, as `rules.told` names it."""
    handle_time_s: float = 0.0
    """SafeKit's: what follows from the rules must have been the same action for so long."""
    isolation: IsolationPolicy = IsolationPolicy.SAFETY
    witness: WitnessSpec | None = None
    """Who says which node may run when they do not hear each other; then `isolation` is not asked."""
    has_data: bool = False
    """Whether a resource replicates data, so that only an up-to-date node may become primary."""
    fences: bool = False
    """Whether a resource can cut the other node off from power."""
    default_primary: str | None = None
    """SafeKit's defaultprim: None is `alone` (whoever is primary stays); `lastprim` is what a tie uses anyway."""
    boot: BootPolicy = BootPolicy.AUTO
    max_loops: int = 3
    loop_interval_s: float = 86400.0
    start_bound_s: float = 120.0
    """The longest a start of the whole pipeline may take, computed from the resources' settings."""
    stop_bound_s: float = 120.0
    """Likewise a stop, its forced second half included."""
    weight: int = DEFAULT_WEIGHT
    """This node's part of a farm's clients, in proportion to the others'; 0 for no new ones."""
    foundation: tuple[tuple[str, str], ...] = ()
    """The steps on which others stand, each with what of it cannot change while it runs. A change of one that was there
    already stops and starts the whole module."""
    signature: str = ""
    """Digest of the configuration, compared between nodes."""

    def stands_on(self, other: ModuleSpec) -> bool:
        """Whether all that the other's steps stand on is here, unchanged."""
        return set(other.foundation) <= set(self.foundation)

    @property
    def lease_s(self) -> float:
        """Of the witness; 0 where there is none."""
        return self.witness.lease_s if self.witness is not None else 0.0


@dataclass(frozen=True, slots=True)
class MembershipSpec:
    node: str
    peers: tuple[str, ...]
    networks: tuple[str, ...]
    heartbeat_interval_s: float = 0.1
    lost_after_s: float = 1.0
    """Silence on every network after which a peer counts as lost."""
    link_up_s: float = 0.0
    """How long a link may take to come up. A peer is not lost sooner after this node started or slept."""
