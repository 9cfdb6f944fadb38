"""Keeps a picture of the cluster: this node is asked as soon as it has heard of a change, the others right after, each
on its own, so that one that does not answer delays nobody."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any, Final

from safekit_console.node import NodeClient, result_of
from safekit_console.outlook import Traits
from safekit_console.state import Seen, Snapshot, read
from safekit_sdk import SafekitError

WAIT_S: Final = 10.0
"""One question about changes; the next follows."""
PAUSE_S: Final = 0.04
"""Between two looks at a node that changes all the time."""
AGAIN_S: Final = 2.0
"""A node is looked at so often when nothing was heard of it: what its checkers say is in no heartbeat."""
PEER_S: Final = 3.0
EXPECTED = (SafekitError, TimeoutError, OSError, ValueError, KeyError)
"""The last two: of a node that runs another version and says things otherwise."""


class Watch:
    def __init__(self, node: NodeClient) -> None:
        self._node = node
        self.snapshot = Snapshot()
        self.addresses: dict[str, list[str]] = {}
        self._traits: dict[str, tuple[int, Traits]] = {}
        self._changed = asyncio.Event()
        self._unlearned = asyncio.Event()
        self._wake: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever."""
        at = ""
        self._tasks[""] = asyncio.create_task(self._keep_learning())
        try:
            while True:
                try:
                    at = await self._node.changes(at, AGAIN_S if at else WAIT_S)
                    await self._look_here()
                    await asyncio.sleep(PAUSE_S)
                except EXPECTED as error:
                    self._lose_sight(str(error))
                    await asyncio.sleep(0.5)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _look_here(self) -> None:
        raw = await self._node.status()
        own = str(raw["node"])
        names = sorted([own, *(str(peer["node"]) for peer in raw["peers"])])
        if set(names) != set(self.snapshot.nodes):
            self.addresses = dict((await self._node.ask("ping", timeout_s=3.0))["addresses"])
        lost = {str(peer["node"]) for peer in raw["peers"] if not peer["alive"]}
        nodes = {name: self.snapshot.nodes.get(name, Seen(name, trouble="not heard yet")) for name in names}
        nodes |= {name: Seen(name, trouble="its heartbeats are not heard") for name in lost}
        nodes[own] = read(own, raw, time.time())
        self._publish(replace(self.snapshot, own=own, cluster=str(raw["cluster"]), nodes=nodes))
        for name in names:
            if name != own:
                self._follow(name)
                self._wake[name].set()
        self._unlearned.set()

    def _follow(self, name: str) -> None:
        if name not in self._tasks:
            self._wake[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._follow_peer(name))

    async def _follow_peer(self, name: str) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._wake[name].wait()
            self._wake[name].clear()
            try:
                answer = (await self._node.fan("status", {}, (name,), timeout_s=PEER_S)).get(name, {})
                seen = read(name, result_of(name, answer), time.time())
            except EXPECTED as error:
                seen = Seen(name, trouble=getattr(error, "message", str(error)))
            if name in self.snapshot.nodes:
                self._publish(replace(self.snapshot, nodes=self.snapshot.nodes | {name: seen}))
            await asyncio.sleep(PAUSE_S)

    def _lose_sight(self, why: str) -> None:
        """This node's safekitd does not answer: then nothing is known of any."""
        nodes = {name: Seen(name, trouble=why) for name in self.snapshot.nodes}
        self._publish(replace(self.snapshot, nodes=nodes))

    def _publish(self, found: Snapshot) -> None:
        before = self.snapshot
        if _marks(found) == _marks(before):
            self.snapshot = found
            return
        self._tell(found)

    def _tell(self, found: Snapshot) -> None:
        self.snapshot = replace(found, number=found.number + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _keep_learning(self) -> None:
        """Apart from looking: of a thousand modules it takes a while."""
        while True:
            await self._unlearned.wait()
            self._unlearned.clear()
            if await self._learn_traits():
                self._tell(self.snapshot)

    async def _learn_traits(self) -> bool:
        """Of modules whose configuration is new; whether there were any."""
        learned = False
        for name, nodes in self.snapshot.modules().items():
            holders = {node: module for node, module in nodes.items() if module is not None}
            revision = max((module.revision for module in holders.values()), default=0)
            if self._traits.get(name, (-1, None))[0] == revision or not holders:
                continue
            own = self.snapshot.own
            chosen = own if own in holders else next(iter(holders))
            with contextlib.suppress(*EXPECTED):
                said = await self._node.on(chosen, "rules", {"module": name}, timeout_s=3.0)
                self._traits[name] = (revision, Traits.of(said["module"]))
                learned = True
        return learned

    def traits(self, module: str) -> Traits:
        return self._traits.get(module, (0, Traits()))[1]

    async def after(self, number: int, timeout_s: float) -> Snapshot:
        """The picture as soon as it is another than that one; the present one when the time is over."""
        if self.snapshot.number == number:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
        return self.snapshot

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()


def _marks(found: Snapshot) -> list[Any]:
    return [(name, seen.mark, seen.trouble) for name, seen in found.nodes.items()]
