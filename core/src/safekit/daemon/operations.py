"""The table of operations: name, arguments' model, who may ask. The command line, the console and the other
nodes all come through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safekit.bus import messages
from safekit.bus.messages import Answer, Call
from safekit.engine.events import Command
from safekit.engine.spec import MAX_WEIGHT
from safekit_sdk import ConfigError

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Bundle = dict[Annotated[str, Field(max_length=512)], Annotated[str, Field(max_length=messages.MAX_CALL_BYTES)]]
"""Relative path to content in base64."""


class Args(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArgs(Args):
    pass


class ModuleArgs(Args):
    module: Name


class CommandArgs(Args):
    module: Name
    command: Command
    force: bool = False
    by: Annotated[str, Field(max_length=128)] = ""


class ValueArgs(Args):
    module: Name
    resource: Annotated[str, Field(max_length=128)]
    value: Annotated[str, Field(max_length=256)]
    by: Annotated[str, Field(max_length=128)] = ""


class WeightArgs(Args):
    module: Name
    weight: Annotated[int, Field(ge=0, le=MAX_WEIGHT)] | None
    by: Annotated[str, Field(max_length=128)] = ""


class InspectArgs(Args):
    module: Name
    question: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=256)]] = {}


class EntriesArgs(Args):
    module: Name | None = None
    kinds: tuple[str, ...] = ()
    after_id: int = 0
    since: float = 0.0
    last: Annotated[int, Field(ge=1, le=5000)] = 100


class FilesArgs(Args):
    module: Name
    files: Bundle
    by: Annotated[str, Field(max_length=128)] = ""


class StageArgs(FilesArgs):
    revision: int


class CommitArgs(Args):
    module: Name
    digest: Annotated[str, Field(max_length=128)]
    revision: int
    by: Annotated[str, Field(max_length=128)] = ""


class ClusterArgs(Args):
    text: Annotated[str, Field(max_length=1 << 20)]


class TokenArgs(Args):
    ttl_s: Annotated[float, Field(gt=0, le=86400)] = 600.0
    network: Annotated[str, Field(max_length=64)] = ""


class FanArgs(Args):
    """One operation on several nodes; `*` is every node of the cluster."""

    op: Name
    args: dict[str, Any] = {}
    nodes: tuple[str, ...] = ("*",)
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0


Handler = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    args: type[Args]
    handler: Handler
    peers: bool
    """Whether other nodes of the cluster may ask for it. What is local stays with this node's root."""


class Operations:
    def __init__(self) -> None:
        self._table: dict[str, Operation] = {}

    def add(self, name: str, args: type[Args], handler: Handler, *, peers: bool) -> None:
        self._table[name] = Operation(args, handler, peers)

    def names(self) -> list[str]:
        return sorted(self._table)

    async def local(self, call: Call) -> Answer:
        return await self._answer(call, from_peer=False)

    async def remote(self, node: str, call: Call) -> Answer:
        del node  # known by its key; every node of the cluster may ask the same
        return await self._answer(call, from_peer=True)

    async def perform(self, op: str, args: dict[str, Any]) -> Any:
        """Run one operation here; a SafekitError when its arguments or its work are wrong."""
        return await self._perform(op, args, from_peer=False)

    async def _answer(self, call: Call, *, from_peer: bool) -> Answer:
        try:
            return Answer(id=call.id, result=await self._perform(call.op, call.args, from_peer=from_peer))
        except Exception as error:  # the top of a request: the asker is told, the daemon lives on
            return Answer(id=call.id, error=messages.error_body(error))

    async def _perform(self, op: str, args: dict[str, Any], *, from_peer: bool) -> Any:
        operation = self._table.get(op)
        if operation is None or (from_peer and not operation.peers):
            raise ConfigError(f"there is no operation '{op}'", hint="run the same version of safekit on all nodes")
        try:
            checked = operation.args.model_validate(args)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"operation '{op}': {place}: {first['msg']}") from None
        return await operation.handler(checked)
