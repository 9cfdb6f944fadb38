"""What travels between a node and a witness: one JSON text each way, with a version; unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from safekit_sdk import PeerError

MAX_REQUEST_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 4096
MIN_TTL_S: Final = 1.0
MAX_TTL_S: Final = 3600.0
MAX_EPOCH: Final = 2**62
"""No lease has a greater one."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(max_length=600)]
Epoch = Annotated[int, Field(ge=0, le=MAX_EPOCH)]
Ttl = Annotated[float, Field(ge=MIN_TTL_S, le=MAX_TTL_S)]
Wait = Annotated[float, Field(ge=0, le=10 * MAX_TTL_S)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Acquire(Part):
    kind: Literal["acquire"] = "acquire"
    node: Name
    epoch: Epoch
    """The lease gets at least this one."""
    ttl_s: Ttl
    after: Epoch | None = None
    """No, when another node was given a greater one than this; None: whatever was."""


class Renew(Part):
    kind: Literal["renew"] = "renew"
    node: Name
    epoch: Epoch
    ttl_s: Ttl
    held: bool
    """Whether the lease has not run out, by the clock of the node, at the moment of sending."""


class Release(Part):
    kind: Literal["release"] = "release"
    node: Name
    epoch: Epoch
    held: bool


class Undo(Part):
    """The node counts no lease of this epoch and never will: it was not granted by a majority. As if it had not been
    given, except that its number is not used again."""

    kind: Literal["undo"] = "undo"
    node: Name
    epoch: Epoch


class Join(Part):
    """A lease that a majority of the other witnesses grants, or is about to: the same here, of exactly this epoch."""

    kind: Literal["join"] = "join"
    node: Name
    epoch: Epoch
    seen: Epoch
    """The greatest epoch that this witness said it knows; the answer is no when it has changed since."""
    ttl_s: Ttl


class Probe(Part):
    kind: Literal["probe"] = "probe"


class Granted(Part):
    kind: Literal["granted"] = "granted"
    epoch: Epoch
    ttl_s: Ttl
    former: bool = False
    """Whether it follows a lease of the same node that had not run out; to give this one back ends that one too."""


class Refused(Part):
    kind: Literal["refused"] = "refused"
    reason: Text
    wait_s: Wait = 0.0
    greatest: Epoch = 0
    """The greatest epoch that this witness has given for the module, 0 for none."""


class Done(Part):
    kind: Literal["done"] = "done"


class Told(Part):
    kind: Literal["told"] = "told"
    text: Text


class Failed(Part):
    """The request was not looked at, or could not be carried out; nothing has changed."""

    kind: Literal["failed"] = "failed"
    reason: Text


Event = Acquire | Renew | Release | Undo | Join | Probe
Reply = Granted | Refused | Done | Told | Failed


class Request(Part):
    v: Literal[1] = 1
    """The version of the protocol; another one is refused."""
    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Chosen by the node, different for each of its requests; the answer carries it."""
    module: Name
    event: Annotated[Event, Field(discriminator="kind")]


class Answer(Part):
    v: Literal[1] = 1
    id: Annotated[str, StringConstraints(max_length=64)]
    """Empty when the request could not be read."""
    reply: Annotated[Reply, Field(discriminator="kind")]


REQUEST = TypeAdapter(Request)
ANSWER = TypeAdapter(Answer)
M = TypeVar("M")


def encode(message: BaseModel) -> bytes:
    """What is None is left out, so that who asks for nothing new is understood by who knows nothing new."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(adapter: TypeAdapter[M], data: bytes, limit_bytes: int) -> M:
    """PeerError when it is too large, malformed or of another version."""
    if len(data) > limit_bytes:
        raise PeerError(f"a message of {len(data)} bytes; {limit_bytes} are allowed")
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise PeerError(
            f"a malformed message: {first['msg'][:200]} at '{place}'",
            hint="run the same version of safekit-witness on the nodes and on the witness",
        ) from None
