"""The operation behind a stop on several nodes: a mirror's secondary stops first. Its primary then stops alone, and
what its application writes at last waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from safekit.daemon.operations import Args, By, FanArgs, Name, Operations, Power
from safekit.engine.events import Command
from safekit_sdk import RefusedError

Fan = Callable[[FanArgs], Awaitable[dict[str, Any]]]
LOOK_S: Final = 0.2
ASK_S: Final = 3.0
COMMAND_S: Final = 10.0
PRIMARY: Final = frozenset({"PRIM", "ALONE"})
UNPAIRED: Final = frozenset({"ALONE", "STOP", "WAIT"})
"""States of the former primary in which its application waits for no other node."""


class StopArgs(Args):
    module: Name
    nodes: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=1000)]
    """`*` is every node that has the module."""
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 300.0
    """For the secondary; nobody waits here for the last one."""
    by: By = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    state: str
    under_way: bool
    desired: bool

    def is_in(self, states: Collection[str]) -> bool:
        return self.state in states and not self.under_way


class Stopping:
    def __init__(self, fan: Fan) -> None:
        self._fan = fan
        self._under_way: set[str] = set()

    def register(self, operations: Operations) -> None:
        operations.add("stop", StopArgs, self.stop, peers=False, needs=Power.OPERATE)

    async def stop(self, args: StopArgs) -> dict[str, Any]:
        """Each node's result or its error, as soon as the last one has been told. TimeoutError when the secondary does
        not stop, RefusedError when somebody starts it again: the primary then goes on."""
        if args.module in self._under_way:
            raise RefusedError(f"a stop of module '{args.module}' is under way already", hint="wait for it to end")
        self._under_way.add(args.module)
        try:
            return await self._stop(args)
        finally:
            self._under_way.discard(args.module)

    async def _stop(self, args: StopArgs) -> dict[str, Any]:
        seen, unseen = await self._look(args.module, args.nodes)
        primaries = tuple(node for node, one in seen.items() if one.state in PRIMARY)
        others = tuple(node for node, one in seen.items() if node not in primaries and one.state != "STOP")
        if not primaries or not others:
            wanted = args.nodes if "*" not in args.nodes else (*seen, *unseen)
            return await self._tell(args, wanted or args.nodes)
        first = await self._tell(args, others)
        if not any("error" in answer for answer in first.values()):
            await self._await_end(args, primaries, others)
        rest = tuple(node for node in (*seen, *unseen) if node not in others)
        return first | await self._tell(args, rest)

    async def _await_end(self, args: StopArgs, primaries: tuple[str, ...], others: tuple[str, ...]) -> None:
        last = f"module '{args.module}' did not stop on {others[0]}"
        try:
            async with asyncio.timeout(args.timeout_s):
                while last := await self._missing(args.module, primaries, others):  # noqa: ASYNC110 - of other nodes
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise TimeoutError(f"{last} within {args.timeout_s:g} s; {', '.join(primaries)} goes on") from None

    async def _missing(self, module: str, primaries: tuple[str, ...], others: tuple[str, ...]) -> str:
        """What is waited for; a node that is silent now is waited for by nobody."""
        seen, _ = await self._look(module, (*primaries, *others))
        for node in others:
            if node in seen and seen[node].desired:
                raise RefusedError(
                    f"somebody started module '{module}' on {node} again; {', '.join(primaries)} goes on",
                    hint="stop it again when it is to stop everywhere",
                )
            if node in seen and not seen[node].is_in({"STOP"}):
                return f"module '{module}' did not stop on {node}"
        waiting = [node for node in primaries if node in seen and not seen[node].is_in(UNPAIRED)]
        return f"module '{module}' did not become alone on {waiting[0]}" if waiting else ""

    async def _look(self, module: str, nodes: tuple[str, ...]) -> tuple[dict[str, _Seen], tuple[str, ...]]:
        """The module where it is, and the nodes that do not answer."""
        answers = await self._fan(FanArgs(op="status", nodes=nodes, timeout_s=ASK_S))
        seen = {
            node: _Seen(one["state"], bool(one["running"]), bool(one["desired"]))
            for node, answer in answers.items()
            for one in answer.get("result", {}).get("modules", ())
            if one["name"] == module
        }
        return seen, tuple(node for node, answer in answers.items() if "error" in answer)

    async def _tell(self, args: StopArgs, nodes: tuple[str, ...]) -> dict[str, Any]:
        command = {"module": args.module, "command": Command.STOP.value}
        return await self._fan(FanArgs(op="command", args=command, nodes=nodes, timeout_s=COMMAND_S, by=args.by))
