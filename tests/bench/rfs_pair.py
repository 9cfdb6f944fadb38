"""The two data paths of a replicated directory on one machine, over loopback with TLS; the caller is the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from safekit_resource_rfs import RfsConfig, RfsResource
from safekit_resource_rfs.control import ask
from safekit_resource_rfs.leftovers import detach_all

from safekit_sdk import Peer, PeerError, Transition
from safekit_sdk.process import Family
from safekit_sdk.testing import RecordingContext, a_context

PATIENCE_S = 1800.0
ASK_S = 60.0


class Node:
    def __init__(self, place: Path, number: int, module: str, settings: dict[str, Any]) -> None:
        self.directory = place / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        given = {"name": "data", "directory": str(self.directory), "listen": ["127.0.0.1"], **settings}
        self._config = RfsConfig.model_validate(given)
        self._context: RecordingContext = a_context(place, node=f"node{number}", name="data", module=module)

    def resource(self, before: str = "", after: str = "", epoch: int = 0) -> RfsResource:
        made = RfsResource(self._config, self._context)
        made.change = Transition(before, after, "bench", epoch)
        return made

    @property
    def pids(self) -> frozenset[int]:
        return Family.of(self._context, "rfs.data").pids()

    @property
    def peak_mib(self) -> float:
        """The most memory that its data path had."""
        lines = [line for pid in self.pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    async def meet(self, other: Node) -> None:
        place = other._context.values.get("place.data", "")
        await self.resource().meet(Peer(other._context.node, {"lan": "127.0.0.1"}, place))

    async def status(self) -> dict[str, Any]:
        return await ask(self._context.run_dir, {"do": "status"}, ASK_S)

    async def upgrade(self) -> None:
        """When it returns, the installed version has taken over."""
        before = (await self.status())["started"]
        await ask(self._context.run_dir, {"do": "upgrade"}, ASK_S)
        await until(self._status_if_any, lambda status: status.get("started", before) != before)

    async def _status_if_any(self) -> dict[str, Any]:
        try:
            return await self.status()
        except PeerError:  # nobody answers during the execve
            return {}

    def remove(self) -> None:
        """Whatever state it is in."""
        with contextlib.suppress(Exception):
            asyncio.run(self.resource().stop(force=True))
        asyncio.run(Family.of(self._context, "rfs.data").end_all(0.0))
        detach_all(self.directory)


class Pair:
    """`one` is primary. Each method returns when what it says is so."""

    def __init__(self, place: Path, settings: dict[str, Any]) -> None:
        module = f"bench-{os.getpid()}-{place.name}"
        self.one = Node(place / "1", 1, module, settings)
        self.two = Node(place / "2", 2, module, settings)
        self._epoch = 1

    @property
    def directory(self) -> Path:
        return self.one.directory

    def start(self) -> dict[str, float]:
        """Both, the second with everything that the first has. What it took, as `join` tells it."""

        async def work() -> dict[str, float]:
            await self.one.resource().start()
            await self.one.resource("WAIT", "ALONE", self._epoch).promote()
            return await self._join()

        return asyncio.run(work())

    def lose(self) -> None:
        """The second ends in good order, and the first goes on alone."""

        async def work() -> None:
            await self.two.resource().stop(force=False)
            self._epoch += 1
            await self.one.resource("PRIM", "ALONE", self._epoch).stand_alone()

        asyncio.run(work())

    def upgrade(self, node: Node) -> None:
        """One of the two, while both are paired; they are again when it returns."""

        async def work() -> None:
            await node.upgrade()
            await self._paired()

        asyncio.run(work())

    def join(self) -> dict[str, float]:
        """The second is back: seconds from when the two have heard of each other until it has everything, and the
        bytes that went each way."""
        return asyncio.run(self._join())

    async def _join(self) -> dict[str, float]:
        await self.two.resource().start()
        begin_s = time.perf_counter()
        await self.one.meet(self.two)
        await self.two.meet(self.one)
        await self.one.resource("ALONE", "PRIM", self._epoch).pair()
        status = await self._paired()
        took_s = time.perf_counter() - begin_s
        return {"s": took_s, "sent_mb": status["sent_bytes"] / 1e6, "received_mb": status["received_bytes"] / 1e6}

    async def _paired(self) -> dict[str, Any]:
        return await until(self.one.status, lambda status: status["link"] == "paired")

    def remove(self) -> None:
        for node in (self.one, self.two):
            node.remove()


async def until(
    look: Callable[[], Awaitable[dict[str, Any]]], wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    end_s = time.monotonic() + PATIENCE_S
    while not wanted(found := await look()):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {found}")
        await asyncio.sleep(0.02)
    return found


@contextlib.contextmanager
def pair(place: Path, **settings: Any) -> Iterator[Pair]:
    """Not started yet, so that there may be files before."""
    made = Pair(place, settings)
    try:
        yield made
    finally:
        made.remove()
