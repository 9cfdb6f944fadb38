"""The server is killed at any moment, one of three, two of three: never are there two holders."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from safekit_witness import LeaseWitness
from safekit_witness.quorum import boottime_s

from safekit_sdk import Lease, PeerError, Refusal, SafekitError

from .servers import PATIENCE_S, WitnessProcess, a_node, running, until_given


@dataclass(slots=True)
class Node:
    """Asks, renews, and gives back, as wildly as it can; remembers when it held the lease."""

    name: str
    witness: LeaseWitness
    held: list[tuple[float, float, int]] = field(default_factory=list)
    """From when it was told to when it had run out or was given back, and the epoch."""
    mine: Lease | None = None
    until_s: float = 0.0
    given: int = 0
    """How many leases and renewals it got."""
    stopping: bool = False

    async def live(self) -> None:
        while not self.stopping:
            with contextlib.suppress(SafekitError):
                await self.act()
            await asyncio.sleep(random.uniform(0, 0.02))
        if self.mine:
            self.held[-1] = (self.held[-1][0], min(self.until_s, boottime_s()), self.mine.epoch)

    async def act(self) -> None:
        asked_s = boottime_s()
        if self.mine is None or asked_s >= self.until_s:
            self.mine = None
            self.take(asked_s, await self.witness.acquire("web", self.name, 0))
        elif random.random() < 0.15:
            mine, self.mine = self.mine, None
            self.held[-1] = (self.held[-1][0], asked_s, mine.epoch)
            await self.witness.release("web", self.name, mine.epoch)
        else:
            self.take(asked_s, await self.witness.renew("web", self.name, self.mine.epoch))

    def take(self, asked_s: float, answer: Lease | Refusal) -> None:
        """A refused renewal ends it; nobody has to count on the rest of it."""
        told_s = boottime_s()
        if isinstance(answer, Refusal):
            if self.mine:
                self.held[-1] = (self.held[-1][0], min(self.until_s, told_s), self.mine.epoch)
            self.mine = None
            return
        self.given += 1
        self.until_s = asked_s + answer.ttl_s
        if self.mine and self.mine.epoch == answer.epoch:
            self.held[-1] = (self.held[-1][0], self.until_s, answer.epoch)
        else:
            self.held.append((told_s, self.until_s, answer.epoch))
        self.mine = answer


def assert_one_at_a_time(*nodes: Node) -> None:
    everything = sorted((*span, node.name) for node in nodes for span in node.held)
    for before, after in itertools.pairwise(everything):
        assert before[1] <= after[0] or before[3] == after[3], (before, after)
        assert before[2] < after[2], f"epochs only grow: {before}, {after}"


async def kill_and_restart(witnesses: tuple[WitnessProcess, ...], nodes: list[Node], times: int) -> None:
    """At any moment after a lease was given or renewed, so that there is one to lose."""
    for _ in range(times):
        await until_something_is_given(nodes)
        await asyncio.sleep(random.uniform(0, 0.2))
        victim = random.choice(witnesses)
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.start)
    await until_something_is_given(nodes)
    for node in nodes:
        node.stopping = True


async def until_something_is_given(nodes: list[Node]) -> None:
    before = sum(node.given for node in nodes)
    give_up_s = time.monotonic() + PATIENCE_S
    while sum(node.given for node in nodes) == before:
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_server_killed_at_any_moment_never_gives_a_lease_twice(tmp_path: Path, count: int) -> None:
    with running(tmp_path, count) as witnesses:
        tokens = [one.admit("paris") for one in witnesses]
        nodes = [Node(f"node{n}", a_node(tmp_path, *tokens, timeout="300ms")) for n in (1, 2)]
        try:
            await asyncio.gather(kill_and_restart(witnesses, nodes, 2), *(node.live() for node in nodes))
        finally:
            for node in nodes:
                await node.witness.close()
    assert_one_at_a_time(*nodes)


async def taught(node: LeaseWitness, server: WitnessProcess, lease: Lease) -> None:
    """Renew until this server has the lease too."""
    give_up_s = time.monotonic() + PATIENCE_S
    while [(one["holder"], one["epoch"]) for one in server.ask(op="show")] != [("node1", lease.epoch)]:
        assert time.monotonic() < give_up_s
        assert await node.renew("web", "node1", lease.epoch) == lease


async def test_one_of_three_may_die_and_come_back_and_two_may_not(tmp_path: Path) -> None:
    with running(tmp_path, 3) as witnesses:
        tokens = [one.admit("paris") for one in witnesses]
        one, other = a_node(tmp_path, *tokens), a_node(tmp_path, *tokens)
        try:
            witnesses[0].kill()
            lease = await until_given(one, "node1")
            starting = asyncio.create_task(asyncio.to_thread(witnesses[0].start))
            while not starting.done():
                assert await one.renew("web", "node1", lease.epoch) == lease
                assert isinstance(await other.acquire("web", "node2", 0), Refusal)
            await starting
            await taught(one, witnesses[0], lease)
            witnesses[1].kill()
            assert await one.renew("web", "node1", lease.epoch) == lease
            await one.release("web", "node1", lease.epoch)
            second = await until_given(other, "node2")
            assert second.epoch > lease.epoch
            witnesses[2].kill()
            with pytest.raises(PeerError, match="no answer from"):
                await other.renew("web", "node2", second.epoch)
            with pytest.raises(PeerError, match="no answer from"):
                await one.acquire("web", "node1", 0)
            await asyncio.to_thread(witnesses[1].start)
            assert (await until_given(one, "node1")).epoch > second.epoch
        finally:
            await one.close()
            await other.close()


async def refused(node: LeaseWitness, after: int) -> str:
    """Why, when it is no more because somebody else may still have it."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        answer = await node.acquire("web", "node2", 0, after)
        assert isinstance(answer, Refusal), answer
        if "had it since" in answer.reason:
            return answer.reason
        assert time.monotonic() < give_up_s, answer
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("count", [1, 3])
async def test_to_whom_an_epoch_was_given_survives_a_crash_of_all_and_the_loss_of_one_of_three(
    tmp_path: Path, count: int
) -> None:
    with running(tmp_path, count) as witnesses:
        tokens = [one.admit("paris") for one in witnesses]
        one, other = a_node(tmp_path, *tokens), a_node(tmp_path, *tokens)
        try:
            known = await until_given(one, "node1")
            raised = await one.acquire("web", "node1", 0)
            assert isinstance(raised, Lease)
            for witness in witnesses:
                witness.kill()
            for witness in witnesses[:2]:
                await asyncio.to_thread(witness.start)
            assert f"node1 had it since, with epoch {raised.epoch}" in await refused(other, known.epoch)
            assert (await until_given(other, "node2", after=raised.epoch)).epoch > raised.epoch
        finally:
            await one.close()
            await other.close()


async def test_sigterm_ends_the_server_and_a_new_start_goes_on_from_its_store(tmp_path: Path) -> None:
    with running(tmp_path) as (server,):
        node = a_node(tmp_path, server.admit("paris"))
        try:
            lease = await until_given(node, "node1")
            assert server.kill(signal.SIGTERM) == 0
            assert not (server.directory / "control.sock").exists()
            server.start()
            refused = await node.acquire("web", "node2", 0)
            assert isinstance(refused, Refusal)
            assert "started" in refused.reason or "node1 has it" in refused.reason
            assert [(one["holder"], one["epoch"]) for one in server.ask(op="show")] == [("node1", lease.epoch)]
        finally:
            await node.close()
