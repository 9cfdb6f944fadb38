"""Everything the engine can be told. Names are in the past tense. The journal stores each with its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from safekit.engine.reports import Heartbeat
from safekit.engine.spec import MembershipSpec, ModuleSpec


class Command(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    STOPSTART = "stopstart"
    FORCESTOP = "forcestop"
    SWAP = "swap"
    PRIM = "prim"
    SECOND = "second"
    FAILOVER_ON = "failover-on"
    FAILOVER_OFF = "failover-off"
    SHUTDOWN = "shutdown"
    """Stop because the daemon ends; what the operator wants to run stays as it is."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first event of an incarnation. Durable facts of earlier ones are in the state already."""

    incarnation: int
    boot: bool = True
    """The first start since the machine booted (a crash or upgrade of the daemon is not a boot)."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration is now this; modules not in it are gone (the daemon has seen that they are stopped)."""

    membership: MembershipSpec
    modules: tuple[ModuleSpec, ...]


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Sent once per heartbeat interval by the loop that also sends heartbeats, and at every deadline."""


@dataclass(frozen=True, slots=True)
class HeartbeatHeard:
    network: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class HostReady:
    """A module's host process is up and has nothing started."""

    module: str


@dataclass(frozen=True, slots=True)
class HostLost:
    """A module's host died, hung or was killed for its size; what it had started may still run."""

    module: str
    reason: str


@dataclass(frozen=True, slots=True)
class PipelineFinished:
    """The answer to one RunPipeline. After a failed start what had started is stopped again."""

    module: str
    run: int
    ok: bool
    failed: str = ""
    """The resource that failed."""
    reason: str = ""
    stuck: bool = False
    """A forced stop failed: something of the primary may still run."""


@dataclass(frozen=True, slots=True)
class ShareTaken:
    """The answer to one TakeShare."""

    module: str
    number: int
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WitnessAnswered:
    """The answer to one AskWitness."""

    module: str
    number: int
    reached: bool
    granted: bool = False
    """Of acquire and renew."""
    epoch: int = 0
    ttl_s: float = 0.0
    """How long the lease lasts from before it was asked for."""
    text: str = ""
    """For people: why not, or what it says."""


@dataclass(frozen=True, slots=True)
class WeightSet:
    """The operator gives this node another part of a farm's clients: 0 drains it, None is what is configured."""

    module: str
    weight: int | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class VerdictChanged:
    module: str
    resource: str
    """`class.ident`."""
    health: str
    """init, up, down or unknown."""
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A resource value that an operator, a script or a resource set: `rfs.uptodate` up."""

    module: str
    resource: str
    value: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class CommandGiven:
    module: str
    command: Command
    force: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class StorageFailed:
    """Durable state cannot be written (disk full, I/O error): no new primary role may be taken."""

    reason: str


@dataclass(frozen=True, slots=True)
class StorageRecovered:
    pass


Event = (
    Started
    | Configured
    | TimePassed
    | HeartbeatHeard
    | HostReady
    | HostLost
    | PipelineFinished
    | ShareTaken
    | WitnessAnswered
    | WeightSet
    | VerdictChanged
    | ValueSet
    | CommandGiven
    | StorageFailed
    | StorageRecovered
)
