"""Tokens, and the admission of a node: every member learns of it, or it does not join."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import zmq.asyncio

from safekit.bus.join import JoinServer
from safekit.bus.keys import KeyPair
from safekit.bus.messages import JoinRequest
from safekit.bus.nodes import NodeBus
from safekit.config.cluster import Cluster
from safekit.daemon.configuration import Configuration
from safekit.daemon.operations import ClusterArgs, Operations, TokenArgs
from safekit_sdk import ConfigError, RefusedError

JOIN_PORT_OFFSET: Final = 1
"""Joins are heard on the port after the network's own."""


class Joining:
    def __init__(
        self,
        context: zmq.asyncio.Context,
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
        operations.add("token", TokenArgs, self.token, peers=False)
        operations.add("cluster-update", ClusterArgs, self.update, peers=True)

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
        async with self._one_at_a_time:
            before = self._configuration.cluster
            default = before.networks[0].name
            addresses = {network or default: address for network, address in request.addresses.items()}
            after = before.with_node(request.node, addresses, request.public_key)
            text = after.to_text()
            await self._tell_members(text)
            self._configuration.adopt_cluster(after)
            self._changed()
            return text

    async def _tell_members(self, text: str) -> None:
        """Every member takes the new file, or the join is refused and no file has changed by it for good:
        a member that took it serves one node more that never comes."""
        others = [n.name for n in self._configuration.cluster.nodes if n.name != self._configuration.node]
        for node in others:
            await self._bus.call(node, "ping", {}, 3.0)
        for node in others:
            await self._bus.call(node, "cluster-update", {"text": text}, 10.0)

    async def update(self, args: ClusterArgs) -> None:
        cluster = Cluster.from_text(args.text, "a peer's cluster file")
        if cluster.revision <= self._configuration.cluster.revision:
            raise RefusedError(f"revision {cluster.revision} of the cluster file is not newer than ours")
        self._configuration.adopt_cluster(cluster)
        self._changed()
