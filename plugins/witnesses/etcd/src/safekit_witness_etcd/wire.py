"""What etcd's JSON gateway answers, and what is in the two keys of a module.

The gateway writes 64-bit integers as strings, bytes as base64, and leaves out what is zero or empty."""

from __future__ import annotations

import base64
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _decoded(value: object) -> bytes:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else b""


def encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class Wire(BaseModel):
    """Fields that are not known are ignored: later versions of etcd add some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Header(Wire):
    cluster_id: int = 0
    revision: int = Field(default=0, ge=0)


class Answer(Wire):
    header: Header = Header()


A = TypeVar("A", bound=Answer)


class Trouble(Wire):
    """What comes with an HTTP status other than 200: a gRPC code and a text."""

    code: int = 2
    message: str = Field(default="", max_length=1000)


class Token(Answer):
    token: str = Field(min_length=1, max_length=4000, pattern=r"^[\x21-\x7e]+$")


class Granted(Answer):
    id: int = Field(alias="ID", gt=0)
    ttl_s: int = Field(alias="TTL", gt=0)


class TimeToLive(Answer):
    ttl_s: int = Field(default=0, alias="TTL")
    """-1 when the lease has run out."""


class KeyValue(Wire):
    value: Annotated[bytes, BeforeValidator(_decoded)] = b""
    mod_revision: int = Field(gt=0)
    lease: int = 0


class Range(Wire):
    kvs: tuple[KeyValue, ...] = Field(default=(), max_length=1)


class Response(Wire):
    response_range: Range = Range()


class TxnAnswer(Answer):
    succeeded: bool = False
    responses: tuple[Response, ...] = Field(default=(), max_length=2)


class Holder(Wire):
    """In the key `holder`, which has a lease of etcd's: who may run the module now."""

    node: str = Field(max_length=300)
    epoch: int = Field(ge=0)


class Last(Holder):
    """In the key `last`, which stays: the epoch that was given last, and to whom."""

    released: bool = False
    others: int | None = Field(default=None, ge=0)
    """The greatest epoch that was given to any other node before. None was written by a version that did not know."""

    @property
    def before(self) -> int:
        """The same; where it is not known, the greatest that it can be."""
        return max(0, self.epoch - 1) if self.others is None else self.others

    def given_to_others(self, node: str) -> int:
        return self.before if node == self.node else self.epoch


def body_of(model: Holder) -> str:
    return encoded(model.model_dump_json())


def put(key: str, value: Holder, lease: int = 0) -> dict[str, Any]:
    return {"request_put": {"key": encoded(key), "value": body_of(value), "lease": str(lease)}}


def get(key: str) -> dict[str, Any]:
    return {"request_range": {"key": encoded(key)}}


def delete(key: str) -> dict[str, Any]:
    return {"request_delete_range": {"key": encoded(key)}}


def unchanged(key: str, mod_revision: int) -> dict[str, Any]:
    """True while the key was last written in that revision; with 0, while it does not exist."""
    return {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(mod_revision)}
