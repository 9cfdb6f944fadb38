"""Two nodes race for some modules while the members of etcd are killed, frozen and started: at every instant one of
them at most has the right to run a module, by a clock that both share, and the epochs of each module grow."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import pytest
from safekit_witness_etcd import EtcdWitness

from safekit_sdk import Lease, PeerError, Refusal

from .cluster import Cluster
from .conftest import Make

RUN_S = 9.0
MODULES = ("m1", "m2", "m3", "m4", "m5", "m6")
TIMEOUT_S = 1.3
"""More than the witness takes by itself. Cancelled calls are tested in test_lease.py: httpx leaves a connection
to the garbage collector when it is cancelled just as it was made, which is a warning, and an error in tests."""
ASLEEP_S = 4.0
"""A node that stands still for so long loses its lease to the other."""
LEASE = {"lease": "1s", "timeout": "700ms"}


@dataclass
class Node:
    """Believes what the witness tells it, and nothing for longer than was given, counted from before it asked."""

    module: str
    name: str
    witness: EtcdWitness
    choose: random.Random
    epoch: int = 0
    until_s: float = 0.0
    held: list[tuple[float, float]] = field(default_factory=list)
    """Each time of holding: since the answer was there, until it was over or given up."""
    epochs: list[tuple[float, int]] = field(default_factory=list)
    after: dict[int, int] = field(default_factory=dict)
    """Of each epoch that was asked for so: the greatest that it knew of then."""
    peer: Node | None = None
    renewals: int = 0

    async def run(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            step = self.choose.choices(
                (self.acquire, self.renew, self.release), (*((1, 8) if self.epoch else (3, 0)), 1)
            )[0]
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await step()
            except (PeerError, TimeoutError):
                pass
            is_asleep = bool(self.epoch) and self.choose.random() < 0.1
            await asyncio.sleep(ASLEEP_S if is_asleep else self.choose.random() * 0.4)
        self.over()

    async def acquire(self) -> None:
        asked_s = time.monotonic()
        after = self.choose.choice((self.greatest(), max(self.greatest(), self.peers()), None, None, None))
        answer = await self.witness.acquire(self.module, self.name, self.choose.choice((0, self.epoch)), after)
        if isinstance(answer, Lease):
            if after is not None:
                self.after[answer.epoch] = after
            self.over()
            self.epoch = answer.epoch
            self.epochs.append((time.monotonic(), answer.epoch))
            self.has(asked_s + answer.ttl_s)

    def greatest(self) -> int:
        return max((epoch for _, epoch in self.epochs), default=0)

    def peers(self) -> int:
        return self.peer.greatest() if self.peer else 0

    async def renew(self) -> None:
        asked_s = time.monotonic()
        answer = await self.witness.renew(self.module, self.name, self.epoch)
        if isinstance(answer, Refusal):
            self.over()
            self.epoch = 0
        else:
            assert answer.epoch == self.epoch
            self.renewals += 1
            self.over()
            self.has(asked_s + answer.ttl_s)

    async def release(self) -> None:
        self.over()
        epoch, self.epoch = self.epoch, 0
        await self.witness.release(self.module, self.name, epoch)
        await asyncio.sleep(self.choose.random() * 0.6)

    def has(self, until_s: float) -> None:
        self.until_s = until_s
        self.held.append((time.monotonic(), until_s))

    def over(self) -> None:
        """What is left of the time that was given is not used."""
        if self.held:
            since_s, until_s = self.held[-1]
            self.held[-1] = (since_s, min(until_s, time.monotonic()))


async def harm(cluster: Cluster, choose: random.Random, end_s: float) -> None:
    while time.monotonic() < end_s:
        victims = choose.sample(cluster.members, choose.choice((1, 1, 1, 2)))
        if choose.random() < 0.5:
            victims = [await cluster.leader()]
        does_freeze = choose.random() < 0.4
        for member in victims:
            member.freeze() if does_freeze else member.kill()
        await asyncio.sleep(choose.uniform(0.2, 1.5))
        for member in victims:
            member.thaw() if does_freeze else member.start()
        await cluster.ready()
        await asyncio.sleep(choose.uniform(0.0, 0.8))


@pytest.mark.parametrize("seed", [1])
async def test_there_are_never_two_holders_and_epochs_only_grow(three: Cluster, make: Make, seed: int) -> None:
    end_s = time.monotonic() + RUN_S
    witnesses = [make(*(three.urls[i:] + three.urls[:i]), **LEASE) for i in (0, 1)]
    pairs = [
        [Node(module, f"n{i}", witnesses[i], random.Random(f"{seed} {module} {i}")) for i in (0, 1)]
        for module in MODULES
    ]
    for one, other in pairs:
        one.peer, other.peer = other, one
    await asyncio.gather(*(node.run(end_s) for pair in pairs for node in pair), harm(three, random.Random(seed), end_s))
    for one, other in pairs:
        for since_s, until_s in one.held:
            assert all(until_s <= since or until <= since_s for since, until in other.held)
        given = [epoch for _, epoch in sorted(one.epochs + other.epochs)]
        assert given == sorted(set(given))
        for node, peer in ((one, other), (other, one)):
            for epoch, after in node.after.items():
                assert max((f for _, f in peer.epochs if f < epoch), default=0) <= after
    assert any(one.epochs and other.epochs for one, other in pairs), "nothing went from one node to the other"
