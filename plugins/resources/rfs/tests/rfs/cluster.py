"""Two real nodes on one machine: two resources with directories, keys and data paths of their own, on loopback, and
an engine's part, played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from safekit_resource_rfs import RfsConfig, RfsResource
from safekit_resource_rfs.control import ask
from safekit_resource_rfs.leftovers import detach_all

from safekit_sdk import Peer, SafekitError, Transition
from safekit_sdk.process import Family
from safekit_sdk.testing import RecordingContext, a_context

PATIENCE_S = 12.0


async def until(condition: Callable[[], Any], what: str = "", patience_s: float | None = None) -> None:
    """Wait until it is so; what it returns may be awaitable."""
    end_s = asyncio.get_running_loop().time() + (patience_s or PATIENCE_S)
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < end_s, what or condition
        await asyncio.sleep(0.02)


class Node:
    """One node of a mirror with one replicated directory."""

    def __init__(self, place: Path, number: int, settings: dict[str, Any]) -> None:
        self.directory = place / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        given = {"name": "data", "directory": str(self.directory), "listen": ["127.0.0.1"], "timeout": "3s", **settings}
        self.config = RfsConfig.model_validate(given)
        self.context: RecordingContext = a_context(place, node=f"node{number}", name="data", module=_module(place))
        self.is_primary = False

    def resource(self, before: str = "", after: str = "", epoch: int = 0) -> RfsResource:
        """A new instance, as after a restart of the host."""
        made = RfsResource(self.config, self.context)
        made.change = Transition(before, after, "test", epoch)
        return made

    @property
    def pids(self) -> frozenset[int]:
        return Family.of(self.context, f"rfs.{self.config.name}").pids()

    async def start(self) -> None:
        await self.resource().start()
        self.is_primary = False

    async def stop(self, *, force: bool = False) -> None:
        await self.resource().stop(force)

    async def promote(self, epoch: int, after: str = "ALONE") -> None:
        await self.resource("WAIT", after, epoch).promote()
        self.is_primary = True

    async def demote(self, *, force: bool = False) -> None:
        await self.resource("PRIM", "SECOND").demote(force)
        self.is_primary = False

    async def pair(self, epoch: int = 0) -> None:
        await self.resource("ALONE", "PRIM", epoch).pair()

    async def stand_alone(self, epoch: int) -> None:
        await self.resource("PRIM", "ALONE", epoch).stand_alone()

    async def meet(self, other: Node) -> None:
        await self.resource().meet(Peer(other.context.node, {"lan": "127.0.0.1"}, other.place))

    async def do(self, word: str, timeout_s: float = 15.0, **arguments: Any) -> dict[str, Any]:
        return await ask(self.context.run_dir, {"do": word, **arguments}, timeout_s)

    async def status(self) -> dict[str, Any]:
        return await self.do("status")

    async def is_(self, **wanted: Any) -> bool:
        """Whether the status says so."""
        with contextlib.suppress(SafekitError):
            status = await self.status()
            return all(status[key] == value for key, value in wanted.items())
        return False

    async def becomes(self, **wanted: Any) -> None:
        try:
            await until(lambda: self.is_(**wanted), f"{self.context.node} does not become {wanted}")
        except AssertionError as error:
            log = self.context.run_dir / "datapath.log"
            told = log.read_text()[-4000:] if log.exists() else ""
            status = await self.status() if self.pids else "no data path"
            raise AssertionError(f"{error}\n{status}\n{told}") from None

    @property
    def place(self) -> str:
        return self.context.values.get("place.data", "")

    async def kill(self) -> None:
        """The data path, as a crash does it."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not self.pids, "it does not die")

    async def remove(self) -> None:
        await self.kill()
        detach_all(self.directory)


def _module(place: Path) -> str:
    return f"test-{os.getpid()}-{abs(hash(place.parent)) % 10**8}"


@contextlib.asynccontextmanager
async def two_nodes(place: Path, **settings: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Started, and introduced to each other."""
    nodes = Node(place / "1", 1, settings), Node(place / "2", 2, settings)
    try:
        for node in nodes:
            await node.start()
        await introduce(*nodes)
        yield nodes
    finally:
        for node in nodes:
            await node.remove()


async def introduce(one: Node, two: Node) -> None:
    await one.meet(two)
    await two.meet(one)


async def mirrored(one: Node, two: Node, epoch: int = 1) -> None:
    """`one` becomes primary and `two` has everything."""
    await one.promote(epoch)
    await one.pair(epoch)
    await two.becomes(up_to_date=True, epoch=epoch)
    await one.becomes(link="paired")


async def compared(node: Node) -> list[str]:
    """What a comparison finds, on the primary."""
    await node.do("verify")
    await until(lambda: node.is_(verify=None))
    answer = await node.do("diff")
    assert (answer["failure"], answer["is_over"]) == ("", True)
    return [f"{one['path']}: {one['what']}" for one in answer["differences"]]
