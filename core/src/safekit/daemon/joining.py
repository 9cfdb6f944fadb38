"""Changes of the cluster file, the admission of a node first of all: every member takes them, or none does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from safekit.bus.join import JoinServer
from safekit.bus.keys import KeyPair
from safekit.bus.messages import JoinRequest
from safekit.bus.nodes import NodeBus
from safekit.bus.sockets import Context
from safekit.config.cluster import Cluster
from safekit.daemon.configuration import Configuration
from safekit.daemon.operations import (
    AddNetworkArgs,
    ClusterArgs,
    NetworkArgs,
    Operations,
    Power,
    RemoveNodeArgs,
    TokenArgs,
)
from safekit_sdk import ConfigError, PeerError, RefusedError, SafekitError

JOIN_PORT_OFFSET: Final = 1
"""Joins are heard on the port after the network's own."""


class Joining:
    def __init__(
        self,
        context: Context,
        pair: KeyPair,
        configuration: Configuration,
        bus: NodeBus,
        changed: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._bus = bus
        self._changed = changed
        self._server = JoinServer(context, pair, self._admit, time.time)
        self._one_at_a_time = asyncio.Lock()

    def register(self, operations: Operations) -> None:
        operations.add("token", TokenArgs, self.token, peers=False, needs=Power.CONFIGURE, noted=True)
        operations.add("cluster-update", ClusterArgs, self.update, peers=True)
        for name, args, handler in (
            ("cluster-remove", RemoveNodeArgs, self.remove),
            ("network-add", AddNetworkArgs, self.add_network),
            ("network-remove", NetworkArgs, self.remove_network),
        ):
            operations.add(name, args, handler, peers=False, noted=True)

    async def close(self) -> None:
        await self._server.close()

    async def token(self, args: TokenArgs) -> dict[str, Any]:
        cluster = self._configuration.cluster
        names = [network.name for network in cluster.networks]
        if args.network and args.network not in names:
            raise ConfigError(f"there is no network '{args.network}'", hint=f"there are: {', '.join(names)}")
        network = next(n for n in cluster.networks if n.name == (args.network or names[0]))
        own = next(node for node in cluster.nodes if node.name == self._configuration.node)
        address = own.addresses.get(network.name)
        if address is None:
            raise ConfigError(f"this node has no address on network '{network.name}'")
        token = self._server.issue(address, network.port + JOIN_PORT_OFFSET, args.ttl_s)
        return {"token": str(token), "expires": token.expires, "cluster": cluster.name}

    async def _admit(self, request: JoinRequest) -> str:
        default = self._configuration.cluster.networks[0].name
        addresses = {network or default: address for network, address in request.addresses.items()}
        after = await self._change(lambda before: before.with_node(request.node, addresses, request.public_key))
        return after.to_text()

    async def remove(self, args: RemoveNodeArgs) -> dict[str, Any]:
        """A node that answers is asked whether it runs anything; one that does not has to be vouched for."""
        if args.node == self._configuration.node:
            raise RefusedError("a node does not remove itself", hint="say it on another node, which goes on")
        self._configuration.cluster.without_node(args.node)
        try:
            runs = sorted(await self._running(args.node))
        except (PeerError, TimeoutError) as error:
            if not args.force:
                raise RefusedError(
                    f"'{args.node}' does not answer, so what it runs is not known: {error}",
                    hint="once it is removed, nobody asks it any more before taking over: with --force, when it is off",
                ) from None
            runs = []
        if runs:
            raise RefusedError(
                f"'{args.node}' runs {', '.join(runs)}",
                hint=f"`safekit module stop {runs[0]} --on {args.node}` first: nobody will see it there any more",
            )
        await self._change(lambda before: before.without_node(args.node))
        return {"modules": self._configuration.modules_of(args.node)}

    async def _running(self, node: str) -> list[str]:
        status = await self._bus.call(node, "status", {}, 3.0)
        return [module["name"] for module in status["modules"] if module["state"] != "STOP" or module["active"]]

    async def add_network(self, args: AddNetworkArgs) -> None:
        await self._change(lambda before: before.with_network(args.network, args.port, args.addresses))

    async def remove_network(self, args: NetworkArgs) -> None:
        await self._change(lambda before: before.without_network(args.network))

    async def _change(self, change: Callable[[Cluster], Cluster]) -> Cluster:
        """Every member that stays takes the new cluster file, or none keeps it."""
        async with self._one_at_a_time:
            present = self._configuration.cluster
            after = change(present)
            staying = [node for node in self._others() if any(node == member.name for member in after.nodes)]
            newest = max([await self._revision(node) for node in staying], default=0)
            after = after.not_before(newest + 1)
            try:
                for node in staying:
                    await self._bus.call(node, "cluster-update", {"text": after.to_text()}, 10.0)
                self._adopt(after)
            except BaseException:
                await self._take_back(present.not_before(after.revision + 1), staying)
                raise
            return after

    def _others(self) -> list[str]:
        return [node.name for node in self._configuration.cluster.nodes if node.name != self._configuration.node]

    async def _revision(self, node: str) -> int:
        return int((await self._bus.call(node, "ping", {}, 3.0))["revision"])

    async def _take_back(self, cluster: Cluster, members: list[str]) -> None:
        """A member that cannot be told now learns of it with the next change."""
        self._adopt(cluster)
        for node in members:
            with contextlib.suppress(SafekitError, TimeoutError):
                await self._bus.call(node, "cluster-update", {"text": cluster.to_text()}, 3.0)

    async def update(self, args: ClusterArgs) -> None:
        """Not while this node admits one itself: of two that would then differ, none is admitted."""
        async with self._one_at_a_time:
            cluster = Cluster.from_text(args.text, "a peer's cluster file")
            if cluster.revision <= self._configuration.cluster.revision:
                raise RefusedError(f"revision {cluster.revision} of the cluster file is not newer than ours")
            self._adopt(cluster)

    def _adopt(self, cluster: Cluster) -> None:
        self._configuration.adopt_cluster(cluster)
        self._changed()
