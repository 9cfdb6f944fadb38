"""The operations on a node and its modules: status, commands, values, history."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from safekit import __version__, engine
from safekit.bus.messages import error_body
from safekit.daemon.agents import Agents
from safekit.daemon.elsewhere import module_states
from safekit.daemon.examination import Examination
from safekit.daemon.operations import (
    CommandArgs,
    EntriesArgs,
    FanArgs,
    InspectArgs,
    ModuleArgs,
    NoArgs,
    Operations,
    Power,
    ValueArgs,
    WeightArgs,
    WhyArgs,
)
from safekit.daemon.rule_operations import RuleOperations
from safekit.daemon.snapshots import Snapshots
from safekit.daemon.stopping import Stopping
from safekit.engine import events
from safekit.engine.events import Command
from safekit.journal import Query, explain_from
from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.elsewhere import OPERATION

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon


class NodeOperations:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def register(self, operations: Operations) -> None:
        operations.add("ping", NoArgs, self.ping, peers=True, needs=Power.LOOK)
        operations.add("status", NoArgs, self.status, peers=True, needs=Power.LOOK)
        operations.add(OPERATION, ModuleArgs, self.module_states, peers=False, needs=Power.LOOK)
        operations.add("command", CommandArgs, self.command, peers=True, needs=Power.OPERATE)
        operations.add("values", ModuleArgs, self.values, peers=True, needs=Power.LOOK)
        operations.add("set-value", ValueArgs, self.set_value, peers=True, needs=Power.OPERATE)
        operations.add("entries", EntriesArgs, self.entries, peers=True, needs=Power.LOOK)
        operations.add("why", WhyArgs, self.why, peers=True, needs=Power.LOOK)
        operations.add("weight", WeightArgs, self.weight, peers=True, needs=Power.OPERATE)
        operations.add("inspect", InspectArgs, self.inspect, peers=True, needs=Power.LOOK)
        operations.add("fan", FanArgs, self.fan, peers=False, needs=Power.LOOK)
        examination = Examination(self._daemon)
        examination.register(operations)
        Snapshots(self._daemon, examination).register(operations)
        Agents(self._daemon).register(operations)
        RuleOperations(self._daemon).register(operations)
        Stopping(self.fan).register(operations)

    async def ping(self, args: NoArgs) -> dict[str, Any]:
        del args
        configuration = self._daemon.configuration
        return {
            "node": configuration.node,
            "version": __version__,
            "revision": configuration.cluster.revision,
            "cluster": configuration.cluster.name,
            "addresses": {node.name: list(node.addresses.values()) for node in configuration.cluster.nodes},
            "networks": next(dict(n.addresses) for n in configuration.cluster.nodes if n.name == configuration.node),
        }

    async def status(self, args: NoArgs) -> dict[str, Any]:
        del args
        return self._daemon.describe()

    async def module_states(self, args: ModuleArgs) -> dict[str, dict[str, Any]]:
        return module_states(self._daemon.runtime.node, args.module, time.monotonic())

    async def command(self, args: CommandArgs) -> dict[str, Any]:
        """Return what was decided; RefusedError with the engine's reason when it was not obeyed."""
        self._known(args.module)
        if args.command is Command.SWAP and (primary := self._primary_elsewhere(args.module)):
            return dict(await self._daemon.bus.call(primary, "command", args.model_dump(mode="json"), 10.0))
        given = events.CommandGiven(args.module, args.command, force=args.force, by=args.by)
        decisions = self._daemon.runtime.submit(given)
        for decision in decisions:
            if decision.rule == "refused":
                raise RefusedError(decision.decision, hint=decision.prevent)
        return {"decisions": [decision.decision for decision in decisions]}

    def _known(self, module: str) -> None:
        if module not in self._daemon.configuration.modules:
            names = ", ".join(sorted(self._daemon.configuration.modules)) or "none"
            raise ConfigError(
                f"there is no module '{module}' on {self._daemon.configuration.node}", hint=f"there are: {names}"
            )

    def _primary_elsewhere(self, module: str) -> str | None:
        """The peer that is PRIM, when this node is not: a swap is its decision."""
        own = dict(engine.reports(self._daemon.runtime.node)).get(module)
        if own is not None and own.state == "PRIM":
            return None
        for peer in engine.peers(self._daemon.runtime.node, time.monotonic()):
            report = dict(peer.modules).get(module)
            if peer.alive and report is not None and report.state == "PRIM":
                return peer.node
        return None

    async def values(self, args: ModuleArgs) -> dict[str, Any]:
        self._known(args.module)
        view = engine.view(self._daemon.runtime.node, args.module, time.monotonic())
        return {value.resource: dataclasses.asdict(value) for value in view.values} if view else {}

    async def set_value(self, args: ValueArgs) -> None:
        self._known(args.module)
        if args.resource.count(".") < 1:
            raise ConfigError(f"'{args.resource}' is not a resource", hint="write class.name, as custom.queue")
        self._daemon.runtime.submit(events.ValueSet(args.module, args.resource, args.value, by=args.by))

    async def weight(self, args: WeightArgs) -> None:
        """Another part of a farm's clients for this node; kept until it is set again."""
        self._known(args.module)
        kind = self._daemon.configuration.modules[args.module].compiled.kind
        if kind != "farm":
            raise RefusedError(f"module '{args.module}' is a {kind}; only a farm's nodes have weights")
        self._daemon.runtime.submit(events.WeightSet(args.module, args.weight, by=args.by))

    async def inspect(self, args: InspectArgs) -> dict[str, dict[str, str]]:
        self._known(args.module)
        return await self._daemon.hosts.inspect(args.module, args.question)

    async def entries(self, args: EntriesArgs) -> list[dict[str, Any]]:
        query = Query(args.module, args.kinds, args.after_id, args.since, args.last)
        await asyncio.to_thread(self._daemon.history.flush, 2.0)
        found = await asyncio.to_thread(self._daemon.history.query, query)
        return [dataclasses.asdict(entry) for entry in found]

    async def why(self, args: WhyArgs) -> dict[str, Any]:
        """A change of a module: what was decided, by which rule, on which facts."""
        path = self._daemon.settings.var / "history.db"
        await asyncio.to_thread(self._daemon.history.flush, 2.0)
        found = await asyncio.to_thread(explain_from, path, args.module, args.back, args.until_id)
        if found is None:
            raise ConfigError(
                f"the history has no such change of module '{args.module}'", hint="`safekit log` shows what it has"
            )
        return found

    async def fan(self, args: FanArgs) -> dict[str, Any]:
        """Each node's result, or its error; nodes that do not answer are part of the answer."""
        nodes = self._named(args.nodes)
        work = [self._ask(node, args) for node in nodes]
        return dict(zip(nodes, await asyncio.gather(*work), strict=True))

    def _named(self, wanted: tuple[str, ...]) -> list[str]:
        nodes = [node.name for node in self._daemon.configuration.cluster.nodes]
        if "*" in wanted:
            return nodes
        for name in wanted:
            if name not in nodes:
                raise ConfigError(f"there is no node '{name}' in this cluster", hint=f"there are: {', '.join(nodes)}")
        return list(dict.fromkeys(wanted))

    async def _ask(self, node: str, args: FanArgs) -> dict[str, Any]:
        try:
            if node == self._daemon.configuration.node:
                return {"result": await self._daemon.operations.perform(args.op, args.args, args.by)}
            return {"result": await self._daemon.bus.call(node, args.op, args.args, args.timeout_s, args.by)}
        except Exception as error:  # one node's failure is a part of the answer
            return {"error": error_body(error).model_dump()}
