"""Tokens, and the admission of a node: every member learns of it, or it does not join."""

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
from safekit.daemon.operations import ClusterArgs, Operations, TokenArgs
from safekit_sdk import ConfigError, RefusedError, SafekitError

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
        """Every member takes the new cluster file, or the join is refused and none keeps it."""
        async with self._one_at_a_time:
            newest = max([await self._revision(node) for node in self._others()], default=0)
            before = self._configuration.cluster.not_before(newest)
            default = before.networks[0].name
            addresses = {network or default: address for network, address in request.addresses.items()}
            after = before.with_node(request.node, addresses, request.public_key)
            try:
                await self._tell(after)
            except BaseException:
                await self._take_back(after.without_node(request.node))
                raise
            self._adopt(after)
            return after.to_text()

    def _others(self) -> list[str]:
        return [node.name for node in self._configuration.cluster.nodes if node.name != self._configuration.node]

    async def _revision(self, node: str) -> int:
        return int((await self._bus.call(node, "ping", {}, 3.0))["revision"])

    async def _tell(self, cluster: Cluster) -> None:
        for node in self._others():
            await self._bus.call(node, "cluster-update", {"text": cluster.to_text()}, 10.0)

    async def _take_back(self, cluster: Cluster) -> None:
        """A member that cannot be told now learns of it with the next change."""
        self._adopt(cluster)
        for node in self._others():
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
