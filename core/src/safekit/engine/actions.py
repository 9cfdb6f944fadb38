"""Everything the engine can ask for. Names are imperatives. The daemon performs them in order, each only
after the durable part of the state that led to it is on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """One walk through the pipeline, in SafeKit's names. start_* and prestart go forward, stop_* and poststop back."""

    PRESTART = "prestart"
    POSTSTOP = "poststop"
    TRANSITION = "transition"
    START_BOTH = "start_both"
    START_PRIM = "start_prim"
    START_SECOND = "start_second"
    START_SEC = "start_sec"
    STOP_BOTH = "stop_both"
    STOP_PRIM = "stop_prim"
    STOP_SECOND = "stop_second"
    STOP_SEC = "stop_sec"
    RESTART = "restart"
    """Stop back, then start forward, the started resources that take part in a restart."""
    RECONFIGURE = "reconfigure"
    """Take over the configuration loaded last: stop back what is gone or changed, start forward what is new."""
    PAIR = "pair"
    """What replicates is told that the other node is secondary."""
    STAND_ALONE = "stand_alone"
    """What replicates is told that it may acknowledge what the other node lacks."""
    FENCE = "fence"
    """The other node is cut off from power, by everything here that can."""
    CLEANUP = "cleanup"
    """Force-stop everything, whatever was started by whom."""


@dataclass(frozen=True, slots=True)
class RunPipeline:
    """The host runs the phases one after the other and answers with PipelineFinished(run). A phase that
    starts and fails ends the run, with what it had started stopped; a phase that stops goes on to the end."""

    module: str
    run: int
    phases: tuple[Phase, ...]
    before: str
    after: str
    cause: str
    """One word: start, stop, takeover, swap, restart, joined, left, cleanup."""
    epoch: int
    force: bool = False
    bound_s: float = 240.0
    """A run that takes longer is a hung host."""
    peer: str = ""
    """The other node of a mirror."""


@dataclass(frozen=True, slots=True)
class StartHost:
    """Start the module's host process. Nothing to do if it runs."""

    module: str


@dataclass(frozen=True, slots=True)
class StopHost:
    """End the module's host process: it has nothing started."""

    module: str


@dataclass(frozen=True, slots=True)
class KillHost:
    """A run took longer than its bound. HostLost follows."""

    module: str
    reason: str
    everything: bool = False
    """With all processes that the module has started, where they can be told from others."""


@dataclass(frozen=True, slots=True)
class TakeShare:
    """The module's resources are to accept these of a farm's buckets, and only these; ShareTaken(number) follows."""

    module: str
    number: int
    epoch: int
    held: int
    """A bit for each bucket that this node serves from now on."""
    moving: int
    """A bit for each bucket that another living node had before or has now, or that is released and has no other owner
    yet: connections stay where they are."""
    owners: tuple[str, ...]
    """The node that each bucket belongs to, empty for none."""
    priors: tuple[tuple[str, ...], ...]
    """For each bucket the nodes that may still have connections of it."""
    director: str
    places: tuple[tuple[str, str, str], ...] = ()
    """Node, identifier of the resource, and what that resource says there."""


class WitnessCall(StrEnum):
    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class AskWitness:
    """The host asks the module's witness; WitnessAnswered(number) follows within the witness's timeout. Of several
    the last one counts."""

    module: str
    number: int
    call: WitnessCall
    epoch: int
    """Of the lease; the least one when it is acquired."""
    after: int | None = None
    """The greatest epoch of a primary that this node knows of: refused when another node was given a greater one. None:
    whatever was."""


@dataclass(frozen=True, slots=True)
class Meet:
    """The module's resources are to know what those of the other node of a mirror say of where they are."""

    module: str
    node: str
    places: tuple[tuple[str, str], ...]
    """Identifier of the resource, and what it says there."""


@dataclass(frozen=True, slots=True)
class FenceSelf:
    """Reset this node at once, where that is configured: something of a primary runs that has no right to."""

    module: str
    reason: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a heartbeat with the present reports now, on every network."""


@dataclass(frozen=True, slots=True)
class Explain:
    """One decision for the journal, the log and `safekit why`."""

    module: str
    """Empty for the node itself."""
    decision: str
    """What was decided, one sentence: 'take over as ALONE'."""
    rule: str
    """The name of the rule or of the transition in the table."""
    facts: dict[str, str] = field(default_factory=dict)
    """What it was decided on."""
    considered: tuple[str, ...] = ()
    """What else was possible and why it was not taken, one sentence each."""
    prevent: str = ""
    """What would have prevented it."""
    before: str = ""
    """STATE/readiness before, when it changes."""
    after: str = ""
    severity: str = "info"
    """info, warning or alarm."""


Action = RunPipeline | StartHost | StopHost | KillHost | TakeShare | AskWitness | Meet | FenceSelf | Publish | Explain
