"""A call to safekitd and its answer: a version, a size limit, a schema; unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from safekit_sdk.errors import ConfigError, InternalError, PeerError, PluginError, RefusedError, SafekitError

MAX_CALL_BYTES = 24 << 20
"""A configuration bundle of 16 MiB, in base64."""

Name = Annotated[str, Field(max_length=128)]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    v: Literal[1] = 1
    """The version of the protocol; another one is refused by name."""


class ErrorBody(Message):
    code: Literal["config", "plugin", "peer", "refused", "internal", "timeout"]
    message: str
    where: str = ""
    hint: str = ""


class Call(Message):
    kind: Literal["call"] = "call"
    id: Name
    op: Name
    args: dict[str, Any] = {}
    by: Annotated[str, Field(max_length=300)] = ""
    """Who asks and from where, for the journal."""


class Answer(Message):
    kind: Literal["answer"] = "answer"
    id: Name
    result: Any = None
    error: ErrorBody | None = None


CALL = TypeAdapter(Call)
ANSWER = TypeAdapter(Answer)
M = TypeVar("M")


def encode(message: Message) -> bytes:
    return message.model_dump_json().encode()


def decode(adapter: TypeAdapter[M], data: bytes, limit_bytes: int) -> M:
    """Return the message; PeerError when it is too large, malformed or of another version."""
    if len(data) > limit_bytes:
        raise PeerError(f"a message of {len(data)} bytes is over the limit of {limit_bytes}")
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PeerError(
            f"a malformed message was refused: {first['msg']} at '{place}'",
            hint="check that all nodes run the same version of safekit",
        ) from None


_CODES: tuple[tuple[type[SafekitError], str], ...] = (
    (ConfigError, "config"),
    (PluginError, "plugin"),
    (PeerError, "peer"),
    (RefusedError, "refused"),
    (InternalError, "internal"),
)


def error_body(error: BaseException) -> ErrorBody:
    """What travels of an error: never a trace, never a local variable."""
    if isinstance(error, TimeoutError):
        return ErrorBody(code="timeout", message=str(error) or "it took too long")
    if not isinstance(error, SafekitError):
        return ErrorBody(code="internal", message=f"{type(error).__name__}: {error}"[:2000])
    code = next((word for cls, word in _CODES if isinstance(error, cls)), "internal")
    return ErrorBody.model_validate({"code": code, "message": error.message, "where": error.where, "hint": error.hint})


def raise_body(body: ErrorBody) -> None:
    if body.code == "timeout":
        raise TimeoutError(body.message)
    cls = next((cls for cls, word in _CODES if word == body.code), InternalError)
    raise cls(body.message, where=body.where, hint=body.hint)
