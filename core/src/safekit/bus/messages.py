"""Every message between processes and between nodes: a version, a size limit, a schema; unknown keys are refused.

Sizes are enforced twice: by the socket (ZMQ_MAXMSGSIZE drops the connection before the bytes are kept) and
by `decode`, for the smaller limit of a kind.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from safekit.engine.actions import Phase, WitnessCall
from safekit.engine.reports import Heartbeat
from safekit_sdk.control import (
    MAX_CALL_BYTES,
    Answer,
    Call,
    ErrorBody,
    Message,
    decode,
    encode,
    error_body,
    raise_body,
)

__all__ = ["MAX_CALL_BYTES", "Answer", "Call", "ErrorBody", "Message", "decode", "encode", "error_body", "raise_body"]

MAX_BEAT_BYTES = 4 << 20
"""A thousand modules that are farms, of which each bucket has an earlier owner."""
MAX_HOST_BYTES = 4 << 20
MAX_JOIN_BYTES = 64 << 10

Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(max_length=128)]
Bits = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]


class Beat(Message):
    """What a later version says besides is not heard, all that this one knows is: while a cluster is upgraded, no node
    may seem silent. A change that an earlier version must not miss is another `v`."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    kind: Literal["beat"] = "beat"
    heartbeat: Heartbeat


class Load(Message):
    """The module's compiled configuration; the host imports the plugins and answers with Loaded."""

    kind: Literal["load"] = "load"
    compiled: dict[str, Any]
    settings: dict[str, str] = Field(default_factory=dict)
    """node, etc_dir, var_dir, run_dir, control_socket, cgroup."""


class Run(Message):
    kind: Literal["run"] = "run"
    run: int
    phases: tuple[Phase, ...]
    before: Name
    after: Name
    cause: Name
    epoch: int
    force: bool = False
    peer: Name = ""
    """The other node of a mirror."""
    until_s: float | None = None
    """On the machine's monotonic clock: when the host itself has to stop a primary that a witness decides on."""


class TakeShare(Message):
    """A farm's buckets, as bits in hexadecimal, that the resources are to serve; ShareDone is the answer."""

    kind: Literal["take-share"] = "take-share"
    number: int
    epoch: int
    held: Bits
    moving: Bits
    owners: tuple[Name, ...]
    priors: tuple[tuple[Name, ...], ...]
    director: Name
    places: tuple[tuple[Name, Name, Name], ...]


class Lease(Message):
    """A farm's resources may go on serving until this moment of the machine's monotonic clock; a mirror that a witness
    decides on begins its forced stop then."""

    kind: Literal["lease"] = "lease"
    until_s: float | None
    """None: for ever."""


class AskWitness(Message):
    """Ask the module's witness; WitnessSaid is the answer, within the witness's timeout."""

    kind: Literal["ask-witness"] = "ask-witness"
    number: int
    call: WitnessCall
    epoch: int
    after: int | None = None
    """Acquire: not when another node had a lease of a greater epoch than this. None: whatever was."""


class Meet(Message):
    """Where the resources of a mirror's other node are."""

    kind: Literal["meet"] = "meet"
    node: Name
    addresses: dict[Name, Name]
    """By network."""
    places: tuple[tuple[Name, Name], ...]


class Inspect(Message):
    """What do the resources say about themselves? Inspected is the answer."""

    kind: Literal["inspect"] = "inspect"
    id: int
    question: dict[str, str]


class Shutdown(Message):
    kind: Literal["shutdown"] = "shutdown"


class Notify(Message):
    """One hook for the observers."""

    kind: Literal["notify"] = "notify"
    hook: Name
    arguments: dict[str, Any]


class DaemonAlive(Message):
    kind: Literal["daemon-alive"] = "daemon-alive"


class Hello(Message):
    kind: Literal["hello"] = "hello"
    pid: int


class Loaded(Message):
    kind: Literal["loaded"] = "loaded"
    error: ErrorBody | None = None


class Finished(Message):
    kind: Literal["finished"] = "finished"
    run: int
    ok: bool
    failed: Name = ""
    reason: Text = ""
    stuck: bool = False


class ShareDone(Message):
    kind: Literal["share-done"] = "share-done"
    number: int
    ok: bool
    reason: Text = ""


class WitnessSaid(Message):
    kind: Literal["witness-said"] = "witness-said"
    number: int
    reached: bool
    granted: bool = False
    epoch: int = 0
    ttl_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    text: Text = ""


class Inspected(Message):
    kind: Literal["inspected"] = "inspected"
    id: int
    facts: dict[str, dict[str, str]]
    """By resource, `class.ident`."""


class VerdictSaid(Message):
    kind: Literal["verdict"] = "verdict"
    resource: Name
    health: Literal["init", "up", "down", "unknown"]
    reason: Text = ""
    facts: dict[str, str] = Field(default_factory=dict)


class Measured(VerdictSaid):
    """What a checker answered last and the rules do not see, as its health stays what it was."""

    kind: Literal["measured"] = "measured"  # type: ignore[assignment]


class ValueSaid(Message):
    kind: Literal["value"] = "value"
    resource: Name
    value: Name


class StepState(Message):
    """A resource of the pipeline changed its state, as the host sees it."""

    kind: Literal["step"] = "step"
    step: Name
    scope: Name
    state: Name
    detail: Text = ""


class LogLine(Message):
    kind: Literal["log"] = "log"
    line: Text
    severity: Literal["info", "warning", "alarm"] = "info"


class HostAlive(Message):
    kind: Literal["host-alive"] = "host-alive"


class JoinRequest(Message):
    kind: Literal["join"] = "join"
    secret: Annotated[str, Field(max_length=64)]
    node: Name
    public_key: Annotated[str, Field(min_length=40, max_length=40)]
    addresses: dict[str, str]
    """Network name to address; the empty name stands for the network on which the token was issued."""
    version: Name = ""


class JoinAnswer(Message):
    kind: Literal["joined"] = "joined"
    cluster: str = ""
    """The cluster file, with the new node in it."""
    error: ErrorBody | None = None


ToHost = Annotated[
    Load | Run | TakeShare | Lease | AskWitness | Meet | Inspect | Shutdown | Notify | DaemonAlive,
    Field(discriminator="kind"),
]
FromHost = Annotated[
    Hello
    | Loaded
    | Finished
    | ShareDone
    | WitnessSaid
    | Inspected
    | VerdictSaid
    | Measured
    | ValueSaid
    | StepState
    | LogLine
    | HostAlive,
    Field(discriminator="kind"),
]
BETWEEN_NODES: TypeAdapter[Beat | Call | Answer] = TypeAdapter(
    Annotated[Beat | Call | Answer, Field(discriminator="kind")]
)
TO_HOST: TypeAdapter[Any] = TypeAdapter(ToHost)
FROM_HOST: TypeAdapter[Any] = TypeAdapter(FromHost)
JOIN_REQUEST = TypeAdapter(JoinRequest)
JOIN_ANSWER = TypeAdapter(JoinAnswer)
