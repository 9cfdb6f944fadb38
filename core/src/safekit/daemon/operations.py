"""The table of operations: name, arguments' model, who may ask. The command line, the console and the other
nodes all come through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safekit.bus import messages
from safekit.bus.control import Caller
from safekit.bus.messages import Answer, Call
from safekit.engine.events import Command
from safekit.engine.spec import MAX_WEIGHT
from safekit_sdk import ConfigError, RefusedError

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Bundle = dict[Annotated[str, Field(max_length=512)], Annotated[str, Field(max_length=messages.MAX_CALL_BYTES)]]
"""Relative path to content in base64."""


By = Annotated[str, Field(max_length=400)]
"""Who asked, and from where."""


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
    by: By = ""


class ValueArgs(Args):
    module: Name
    resource: Annotated[str, Field(max_length=128)]
    value: Annotated[str, Field(max_length=256)]
    by: By = ""


class WeightArgs(Args):
    module: Name
    weight: Annotated[int, Field(ge=0, le=MAX_WEIGHT)] | None
    by: By = ""


class InspectArgs(Args):
    module: Name
    question: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=256)]] = {}


class EntriesArgs(Args):
    module: Name | None = None
    kinds: tuple[str, ...] = ()
    after_id: int = 0
    since: float = 0.0
    last: Annotated[int, Field(ge=1, le=5000)] = 100


class WhyArgs(Args):
    module: Name
    back: Annotated[int, Field(ge=0, le=1000)] = 0
    until_id: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """The change that this entry of the journal belongs to, or one before it."""


class FilesArgs(Args):
    module: Name
    files: Bundle
    by: By = ""


class StageArgs(FilesArgs):
    revision: int


class CommitArgs(Args):
    module: Name
    digest: Annotated[str, Field(max_length=128)]
    revision: int
    by: By = ""


class ClusterArgs(Args):
    text: Annotated[str, Field(max_length=1 << 20)]


class RemoveNodeArgs(Args):
    node: Name
    force: bool = False
    """Whoever asks says that a node which does not answer is off."""


class NetworkArgs(Args):
    network: Name


class AddNetworkArgs(NetworkArgs):
    port: Annotated[int, Field(ge=1, le=65534)]
    addresses: dict[Name, Annotated[str, Field(max_length=64)]] = Field(max_length=100)
    """Node to address."""


class TokenArgs(Args):
    ttl_s: Annotated[float, Field(gt=0, le=86400)] = 600.0
    network: Annotated[str, Field(max_length=64)] = ""


class FanArgs(Args):
    """One operation on several nodes; `*` is every node of the cluster."""

    by: By = ""

    op: Name
    args: dict[str, Any] = {}
    nodes: tuple[str, ...] = ("*",)
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0


Handler = Callable[[Any], Awaitable[Any]]


class Power(IntEnum):
    """How much a caller of this node may ask for; each has those before it. Root has all."""

    NOTHING = 0
    LOOK = 1
    OPERATE = 2
    CONFIGURE = 3
    ROOT = 4


POWERS: Final = {"nothing": Power.NOTHING, "look": Power.LOOK, "operate": Power.OPERATE, "configure": Power.CONFIGURE}
"""As the setting `console_may` names them."""


@dataclass(frozen=True, slots=True)
class Operation:
    args: type[Args]
    handler: Handler
    peers: bool
    """Whether other nodes of the cluster may ask for it. What is local stays with this node."""
    needs: Power
    noted: bool
    """Whether the journal says who asked for it. What the engine is told is there in any case."""


def _nothing(module: str, line: str) -> None:
    """Where nobody writes it down."""


class Operations:
    def __init__(self, others: Power = Power.NOTHING, note: Callable[[str, str], None] = _nothing) -> None:
        """`others`: what callers of this node may ask for that are not root. `note`: a module, or none, and a line."""
        self._table: dict[str, Operation] = {}
        self._others = others
        self._note = note

    def add(
        self,
        name: str,
        args: type[Args],
        handler: Handler,
        *,
        peers: bool,
        needs: Power = Power.ROOT,
        noted: bool = False,
    ) -> None:
        self._table[name] = Operation(args, handler, peers, needs, noted)

    def names(self) -> list[str]:
        return sorted(self._table)

    async def local(self, call: Call, caller: Caller) -> Answer:
        if caller is Caller.ROOT:
            return await self._answer(call, from_peer=False)
        told = call.model_copy(update={"by": f"{caller.value}: {call.by}"})
        may = self._others if caller is Caller.CONSOLE else min(self._others, Power.LOOK)
        try:
            self._check_power(call, may)
        except (RefusedError, ConfigError) as error:
            return Answer(id=call.id, error=messages.error_body(error))
        return await self._answer(told, from_peer=False)

    def _check_power(self, call: Call, may: Power) -> None:
        """Also of what is asked of other nodes: to them it is this node that asks."""
        names = [call.op, *([str(call.args.get("op"))] if call.op == "fan" else [])]
        needed = max(self._table[name].needs if name in self._table else Power.ROOT for name in names)
        if needed > may:
            who = "root" if needed is Power.ROOT else "a console that is allowed to"
            raise RefusedError(
                f"only {who} may ask for '{names[-1]}' on this node", hint="SAFEKIT_CONSOLE_MAY says what a console may"
            )

    async def remote(self, node: str, call: Call) -> Answer:
        del node  # known by its key; every node of the cluster may ask the same
        return await self._answer(call, from_peer=True)

    async def perform(self, op: str, args: dict[str, Any], by: str) -> Any:
        """Run one operation here; a SafekitError when its arguments or its work are wrong."""
        return await self._perform(Call(id="", op=op, args=args, by=by), from_peer=False)

    async def _answer(self, call: Call, *, from_peer: bool) -> Answer:
        try:
            return Answer(id=call.id, result=await self._perform(call, from_peer=from_peer))
        except Exception as error:  # the top of a request: the asker is told, the daemon lives on
            return Answer(id=call.id, error=messages.error_body(error))

    async def _perform(self, call: Call, *, from_peer: bool) -> Any:
        operation = self._table.get(call.op)
        if operation is None or (from_peer and not operation.peers):
            raise ConfigError(f"there is no operation '{call.op}'", hint="run the same version of safekit on all nodes")
        asker = {"by": call.by} if call.by and "by" in operation.args.model_fields else {}
        try:
            checked = operation.args.model_validate(call.args | asker)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"operation '{call.op}': {place}: {first['msg']}") from None
        result = await operation.handler(checked)
        if operation.noted:
            self._note(getattr(checked, "module", ""), f"{call.op}: done, asked for by {call.by or 'nobody known'}")
        return result
