"""A lease of one witness, or of a majority of three. README.md, "Why two nodes never hold it", is the argument."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from safekit_sdk import Lease, PeerError, Refusal
from safekit_witness.member import Asked
from safekit_witness.messages import (
    MAX_EPOCH,
    Acquire,
    Done,
    Event,
    Failed,
    Granted,
    Join,
    Probe,
    Refused,
    Release,
    Renew,
    Reply,
    Told,
    Undo,
)

ATTEMPTS: Final = 3
"""How often one call asks again when nodes have divided the witnesses among them."""
STRAGGLER_S: Final = 0.05
"""How long a majority waits for the rest."""
MAX_MODULES: Final = 1024
SHORTEST_S: Final = 0.001
"""Less is not waited for."""
Votes = dict[int, Reply]
Ask = Callable[[], Event]


def boottime_s() -> float:
    """Unlike the monotonic clock it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Mine:
    """What this node knows of its own lease of a module."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    epoch: int = 0
    until_s: float = 0.0
    released: int = 0
    """The last epoch that was given back; it is not renewed, whatever is still under way."""


class Quorum:
    """`timeout_s` bounds every call; `clock` is what this node counts its leases by."""

    def __init__(
        self, members: Sequence[Asked], lease_s: float, timeout_s: float, clock: Callable[[], float] = boottime_s
    ) -> None:
        self._members = members
        self._majority = len(members) // 2 + 1
        self._lease_s = lease_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._mine: dict[str, Mine] = {}

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        mine = self._of(module)
        event = Acquire(node=node, epoch=epoch, ttl_s=self._lease_s, after=after)
        async with mine.lock:
            began_s = asyncio.get_running_loop().time()
            for attempt in range(ATTEMPTS):
                result, divided = await self._attempt(mine, module, event)
                used_s = asyncio.get_running_loop().time() - began_s
                if not divided or attempt == ATTEMPTS - 1 or used_s > 0.3 * self._timeout_s:
                    break
                await asyncio.sleep(random.uniform(0, 0.04 * self._timeout_s * (attempt + 1)))
            return result

    async def _attempt(self, mine: Mine, module: str, event: Acquire) -> tuple[Lease | Refusal, bool]:
        """And whether nodes have divided the witnesses among them, so that asking again may help."""
        asked_s = self._clock()
        votes = await self._ask(module, dict.fromkeys(self._all(), lambda: event), self._share(0.55))
        granted = _granted(votes)
        same = await self._levelled(module, event.node, votes) if len(granted) >= self._majority else {}
        if len(same) >= self._majority:
            mine.epoch = next(iter(same.values())).epoch
            ttl_s = min(one.ttl_s for one in same.values())
            mine.until_s = asked_s + ttl_s
            return Lease(mine.epoch, ttl_s), False
        await self._give_back(module, event.node, granted, same)
        refused = _refused(votes)
        if len(granted) + len(refused) < self._majority or not refused:
            raise self._unreached(votes)
        return self._refusal(votes), bool(granted)

    async def _levelled(self, module: str, node: str, votes: Votes) -> dict[int, Granted]:
        """The grants of one epoch, the greatest: greater than all that any of them knew, so than every lease before."""
        granted = _granted(votes)
        known = [one.epoch for one in granted.values()] + [one.greatest + 1 for one in _refused(votes).values()]
        epoch = min(max(known), MAX_EPOCH)
        same = {place: one for place, one in granted.items() if one.epoch == epoch}
        behind = {place: one.epoch for place, one in granted.items() if one.epoch != epoch}
        return same | await self._join(module, node, epoch, behind)

    async def _join(self, module: str, node: str, epoch: int, seen: Mapping[int, int]) -> dict[int, Granted]:
        """Those that take the lease of this epoch over, as long as they know of no greater one than `seen`."""

        def join(greatest: int) -> Ask:
            return lambda: Join(node=node, epoch=epoch, seen=greatest, ttl_s=self._lease_s)

        votes = await self._ask(module, {place: join(greatest) for place, greatest in seen.items()}, self._share(0.2))
        return _granted(votes)

    async def _give_back(
        self, module: str, node: str, granted: Mapping[int, Granted], same: Mapping[int, Granted]
    ) -> None:
        """What was got for nothing, so that it is also not taken for a lease by whom one is asked for later. Not where
        it followed a lease of ours that had not run out: this node may still count on that one, which would end too."""
        last = {**granted, **same}

        def undo(epoch: int) -> Ask:
            return lambda: Undo(node=node, epoch=epoch)

        fresh = [place for place, one in granted.items() if not one.former]
        epochs = {place: last[place].epoch for place in fresh}
        await self._ask(module, {place: undo(epoch) for place, epoch in epochs.items()}, self._share(0.15))

    async def renew(self, module: str, node: str, epoch: int) -> Lease | Refusal:
        mine = self._of(module)
        async with mine.lock:
            if 0 < epoch <= mine.released:
                return Refusal(f"this node has given the lease of epoch {epoch} back")
            asked_s = self._clock()
            votes = await self._ask(
                module, dict.fromkeys(self._all(), self._renewal(mine, node, epoch)), self._share(0.6)
            )
            granted, refused = _granted(votes), _refused(votes)
            if len(granted) >= self._majority:
                ttl_s = min(one.ttl_s for one in granted.values())
                mine.epoch, mine.until_s = epoch, asked_s + ttl_s
                await self._join(module, node, epoch, {place: one.greatest for place, one in refused.items()})
                return Lease(epoch, ttl_s)
            if len(self._members) - len(refused) >= self._majority:
                raise self._unreached(votes)
            return self._refusal(votes)

    def _renewal(self, mine: Mine, node: str, epoch: int) -> Ask:
        return lambda: Renew(node=node, epoch=epoch, ttl_s=self._lease_s, held=self._holds(mine, epoch))

    def _holds(self, mine: Mine, epoch: int) -> bool:
        return mine.epoch == epoch and self._clock() < mine.until_s

    async def release(self, module: str, node: str, epoch: int) -> None:
        mine = self._of(module)
        async with mine.lock:
            mine.released = max(mine.released, epoch)
            event: Ask = lambda: Release(node=node, epoch=epoch, held=self._holds(mine, epoch))  # noqa: E731
            votes = await self._ask(module, dict.fromkeys(self._all(), event), self._share(0.9))
            if sum(isinstance(one, Done) for one in votes.values()) < self._majority:
                raise self._unreached(votes)
            if mine.epoch <= epoch:
                mine.until_s = 0.0

    async def probe(self, module: str) -> str:
        event = Probe()
        votes = await self._ask(module, dict.fromkeys(self._all(), lambda: event), self._share(0.9))
        told = {place: one.text for place, one in votes.items() if isinstance(one, Told)}
        if not told:
            raise self._unreached(votes)
        if len(self._members) == 1:
            return told[0]
        return "; ".join(f"{one.name}: {told.get(place, 'silent')}" for place, one in enumerate(self._members))

    def _all(self) -> Iterable[int]:
        return range(len(self._members))

    def _share(self, part: float) -> float:
        """Of the time that a call has; a single witness has all of it, there is no second round."""
        return self._timeout_s * (0.9 if len(self._members) == 1 else part)

    async def _ask(self, module: str, asked: Mapping[int, Ask], patience_s: float) -> Votes:
        """The answers that came in time. When a majority has said yes, the rest is waited for only a moment."""
        loop = asyncio.get_running_loop()
        tasks = {asyncio.create_task(self._members[place].ask(module, event)): place for place, event in asked.items()}
        votes: Votes = {}
        until_s = loop.time() + patience_s
        pending = set(tasks)
        try:
            while pending and (left_s := until_s - loop.time()) > SHORTEST_S:
                done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                votes |= {tasks[one]: one.result() for one in done if not _failed(one)}
                if sum(not isinstance(one, Refused | Failed) for one in votes.values()) >= self._majority:
                    until_s = min(until_s, loop.time() + min(STRAGGLER_S, 0.1 * self._timeout_s))
        finally:
            for one in pending:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return votes

    def _refusal(self, votes: Votes) -> Refusal:
        """Asking again may succeed when a majority may be free."""
        refused = _refused(votes)
        reason = "; ".join(dict.fromkeys(one.reason for one in refused.values()))
        if len(refused) < self._majority:
            return Refusal(f"no majority: {reason}", wait_s=random.uniform(0, 0.1 * self._lease_s))
        waits_s = sorted(refused[place].wait_s if place in refused else 0.0 for place in self._all())
        return Refusal(reason, wait_s=min(waits_s[self._majority - 1], self._lease_s))

    def _unreached(self, votes: Votes) -> PeerError:
        silent = [one.name for place, one in enumerate(self._members) if place not in votes]
        failed = [
            f"{self._members[place].name}: {one.reason}" for place, one in votes.items() if isinstance(one, Failed)
        ]
        words = [*failed, *([f"no answer from {', '.join(silent)}"] if silent else [])] or ["no majority agreed"]
        words += [f"{one.name} did not understand a message: {one.complaint}" for one in self._members if one.complaint]
        hint = "does safekit-witness run there, is the network up, and is this cluster still admitted (`show`)?"
        if failed:
            hint = "look at the log of the witness"
        return PeerError(f"the witness was not reached: {'; '.join(words)}", hint=hint)

    def _of(self, module: str) -> Mine:
        if module not in self._mine and len(self._mine) >= MAX_MODULES:
            now_s = self._clock()
            idle = [name for name, one in self._mine.items() if one.until_s < now_s and not one.lock.locked()]
            for name in idle:
                del self._mine[name]
        return self._mine.setdefault(module, Mine())


def _failed(task: asyncio.Task[Reply]) -> bool:
    """It could not be sent; any other error is a defect and is raised."""
    return task.cancelled() or isinstance(task.exception(), PeerError)


def _granted(votes: Votes) -> dict[int, Granted]:
    return {place: one for place, one in votes.items() if isinstance(one, Granted)}


def _refused(votes: Votes) -> dict[int, Refused]:
    return {place: one for place, one in votes.items() if isinstance(one, Refused)}
