"""Three witnesses on a virtual clock: seeded runs of the shipped quorum over the shipped leases, with messages lost and
late, members that crash or come back with an old or empty disk, nodes whose clocks are wrong."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from safekit_witness.leases import Leases, Record
from safekit_witness.messages import Event, Reply
from safekit_witness.past import Past
from safekit_witness.quorum import Quorum

from safekit_sdk import Lease, PeerError, Refusal
from safekit_sdk.testing import VirtualClock

from .events import SINCE

LEASE_S, TIMEOUT_S = 10.0, 1.0
RATES = (0.9, 1.0, 1.1)


class Machine:
    """A witness: its clock, its memory, its disk."""

    def __init__(self, clock: VirtualClock, rate: float = 1.0, run_for_s: float = 0.0) -> None:
        self.clock = clock
        self.rate = rate
        self.disk: dict[str, Record] = {}
        self.earlier: list[dict[str, Record]] = [{}]
        self.boots = 0
        self.down = False
        self.leases = Leases(self.now_s() - run_for_s)

    def now_s(self) -> float:
        return self.clock.now_s * self.rate

    def boot(self, disk: dict[str, Record] | None = None) -> None:
        self.boots += 1
        self.disk = dict(self.disk if disk is None else disk)
        self.leases = Leases(self.now_s())
        for module, record in self.disk.items():
            self.leases.restore("paris", module, record)

    def answer(self, module: str, event: Event) -> Reply:
        outcome = self.leases.decide("paris", module, event, self.now_s())
        if outcome.must_keep:
            assert outcome.entry
            self.earlier.append(dict(self.disk))
            self.disk[module] = outcome.entry.record
        self.leases.accept("paris", module, outcome.entry)
        return outcome.reply


@dataclass(slots=True)
class Line:
    """From one node to one witness. A connection dies with either end, and with it what is on it."""

    machine: Machine
    chance: random.Random
    cut: bool = False
    slow: float = 0.02
    lossy: float = 0.0
    name: str = "witness"
    complaint: str = ""

    def is_dead(self, boots: int) -> bool:
        return self.cut or self.machine.down or boots != self.machine.boots

    async def ask(self, module: str, event: Callable[[], Event]) -> Reply:
        while self.is_dead(self.machine.boots):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.05)
        sent, boots = event(), self.machine.boots
        await asyncio.sleep(self.chance.uniform(0, self.slow))
        if self.chance.random() < self.lossy or self.is_dead(boots):
            await asyncio.Event().wait()
        reply = self.machine.answer(module, sent)
        if self.chance.random() < self.lossy:
            await asyncio.Event().wait()
        await asyncio.sleep(self.chance.uniform(0, self.slow))
        return reply


@dataclass(slots=True)
class Told:
    """A lease that a node heard of, and what it knew of when it asked."""

    node: str
    epoch: int
    after: int | None


@dataclass(slots=True)
class Node:
    name: str
    clock: VirtualClock
    lines: list[Line]
    rate: float = 1.0
    held: list[tuple[float, float, int]] = field(default_factory=list)
    """In real seconds: from when it was told to when it stops, and the epoch."""
    told: list[Told] = field(default_factory=list)
    """Shared by all nodes: what happened, in its order."""
    unaware: int = 0
    """How often it was refused because it did not know enough."""
    quorum: Quorum = field(init=False)

    def __post_init__(self) -> None:
        self.quorum = Quorum(self.lines, LEASE_S, TIMEOUT_S, self.now_s)

    def now_s(self) -> float:
        return self.clock.now_s * self.rate

    async def live(self, chance: random.Random, for_s: float) -> None:
        """Hold it for a while, now and then give it back; raise its epoch now and then."""
        while self.clock.now_s < for_s:
            with contextlib.suppress(PeerError, TimeoutError):
                await self.hold(chance)
            await asyncio.sleep(chance.uniform(0, 1.5))

    def knows(self, chance: random.Random) -> int | None:
        """Of all leases, or of its own at least, or it is asked by force."""
        own = [one.epoch for one in self.told if one.node == self.name]
        every = [one.epoch for one in self.told]
        return chance.choice((max(every, default=0), max(own, default=0), max(own, default=0), None))

    async def ask(self, after: int | None) -> Lease | Refusal:
        answer = await asyncio.wait_for(self.quorum.acquire("web", self.name, 0, after), TIMEOUT_S)
        if isinstance(answer, Lease):
            self.told.append(Told(self.name, answer.epoch, after))
        else:
            self.unaware += SINCE in answer.reason
        return answer

    async def hold(self, chance: random.Random) -> None:
        asked_s = self.now_s()
        answer = await self.ask(self.knows(chance))
        if isinstance(answer, Refusal):
            return
        until_s = asked_s + answer.ttl_s
        self.held.append((self.clock.now_s, until_s / self.rate, answer.epoch))
        while self.now_s() < until_s:
            await asyncio.sleep(chance.choice((0.3, 3.0, 4.0, 9.0)))
            asked_s = self.now_s()
            if asked_s >= until_s:
                return
            if chance.random() < 0.1:
                self.held[-1] = (self.held[-1][0], self.clock.now_s, answer.epoch)
                await asyncio.wait_for(self.quorum.release("web", self.name, answer.epoch), TIMEOUT_S)
                return
            with contextlib.suppress(PeerError, TimeoutError):
                if chance.random() < 0.2:
                    raised = await self.ask(None)
                    if isinstance(raised, Refusal):
                        continue
                    self.held[-1] = (self.held[-1][0], self.clock.now_s, answer.epoch)
                    answer, until_s = raised, asked_s + raised.ttl_s
                    self.held.append((self.clock.now_s, until_s / self.rate, answer.epoch))
                    continue
                renewed = await asyncio.wait_for(self.quorum.renew("web", self.name, answer.epoch), TIMEOUT_S)
                if isinstance(renewed, Refusal):
                    self.held[-1] = (self.held[-1][0], min(self.held[-1][1], self.clock.now_s), answer.epoch)
                    return
                until_s = asked_s + renewed.ttl_s
                self.held[-1] = (self.held[-1][0], until_s / self.rate, answer.epoch)


async def trouble(chance: random.Random, machines: list[Machine], lines: list[Line], forgets: bool) -> None:
    """At most one disk is bad at a time: the machine that has it is not followed by another for three leases."""
    clock, last, when_s = machines[0].clock, machines[0], -100.0
    while True:
        await asyncio.sleep(chance.uniform(0.2, 4.0))
        line, machine = chance.choice(lines), chance.choice(machines)
        line.cut = chance.random() < 0.25
        line.slow, line.lossy = chance.choice(((0.02, 0.0), (0.3, 0.0), (0.05, 0.2)))
        machine.down = chance.random() < 0.12
        if chance.random() < 0.3:
            old = forgets and (machine is last or clock.now_s > when_s + 3 * LEASE_S) and chance.random() < 0.7
            if old:
                last, when_s = machine, clock.now_s
            machine.boot(chance.choice(machine.earlier) if old else None)


def run_of(seed: int, *, forgets: bool, for_s: float = 100.0) -> list[Node]:
    chance = random.Random(seed)
    clock = VirtualClock()
    machines = [Machine(clock, chance.choice(RATES)) for _ in range(3)]
    told: list[Told] = []
    nodes = [
        Node(f"node{n}", clock, [Line(m, chance) for m in machines], chance.choice(RATES), told=told) for n in (1, 2, 3)
    ]

    async def main() -> None:
        lines = [line for node in nodes for line in node.lines]
        troubles = asyncio.create_task(trouble(chance, machines, lines, forgets))
        await asyncio.gather(*(node.live(chance, for_s) for node in nodes))
        troubles.cancel()
        await asyncio.gather(troubles, return_exceptions=True)

    random.seed(seed)
    clock.run(main())
    return nodes


def everything(nodes: list[Node]) -> list[tuple[float, float, int, str]]:
    return sorted((*span, node.name) for node in nodes for span in node.held)


@pytest.mark.parametrize("seeds", [range(4), range(4, 8)], ids=str)
def test_at_most_one_node_holds_a_majority_and_epochs_grow(seeds: range) -> None:
    leases = 0
    for seed in seeds:
        spans = everything(run_of(seed, forgets=False))
        leases += len(spans)
        for before, after in itertools.pairwise(spans):
            assert before[1] <= after[0] or before[3] == after[3], (seed, before, after)
            assert before[2] < after[2], (seed, before, after)
    assert leases > len(seeds)


def test_no_node_gets_a_majority_that_does_not_know_of_what_another_one_had() -> None:
    unaware = given = 0
    for seed in range(20, 50):
        nodes = run_of(seed, forgets=False)
        unaware += sum(node.unaware for node in nodes)
        told = sorted(nodes[0].told, key=lambda one: one.epoch)
        for place, later in enumerate(told):
            if later.after is None:
                continue
            others = [one.epoch for one in told[:place] if one.node != later.node]
            assert max(others, default=0) <= later.after, (seed, later, told)
            given += bool(others)
    assert unaware > 10
    assert given > 10


def test_at_most_one_node_holds_it_when_one_disk_at_a_time_is_old_or_empty() -> None:
    for seed in range(100, 106):
        for before, after in itertools.pairwise(everything(run_of(seed, forgets=True))):
            assert before[1] <= after[0] or before[3] == after[3], (seed, before, after)


def three(clock: VirtualClock) -> list[Machine]:
    return [Machine(clock, run_for_s=1000.0) for _ in range(3)]


def test_two_nodes_that_ask_at_once_get_it_once_and_soon() -> None:
    for seed in range(30):
        clock, chance = VirtualClock(), random.Random(seed)
        machines = three(clock)
        nodes = [Node(f"node{n}", clock, [Line(m, chance) for m in machines]) for n in (1, 2)]

        async def main(nodes: list[Node] = nodes) -> list[Lease | Refusal]:
            return list(await asyncio.gather(*(node.quorum.acquire("web", node.name, 0) for node in nodes)))

        random.seed(seed)
        answers = clock.run(main())
        assert sum(isinstance(answer, Lease) for answer in answers) == 1, (seed, answers)


def test_a_partial_grant_is_given_back_at_once() -> None:
    clock = VirtualClock()
    machines = three(clock)
    node = Node("node1", clock, [Line(m, random.Random(1)) for m in machines])
    for line in node.lines[1:]:
        line.cut = True

    async def main() -> None:
        with pytest.raises(PeerError, match="no answer from witness, witness"):
            await node.quorum.acquire("web", "node1", 0)

    clock.run(main())
    assert machines[0].disk["web"] == Record("", 1, 1, LEASE_S)


def test_a_partial_grant_that_followed_a_lease_of_this_node_is_not_given_back() -> None:
    """The node may have the former one from this member and another, and still count on it."""
    clock = VirtualClock()
    machines = three(clock)
    node = Node("node1", clock, [Line(m, random.Random(1)) for m in machines])

    async def main() -> None:
        assert isinstance(await node.quorum.acquire("web", "node1", 0), Lease)
        for line in node.lines[1:]:
            line.cut = True
        with pytest.raises(PeerError):
            await node.quorum.acquire("web", "node1", 0)

    clock.run(main())
    assert machines[0].disk["web"] == Record("node1", 2, 2, LEASE_S, Past("node1", 1))


def three_nodes_without_the_first_line_of_the_first(clock: VirtualClock) -> tuple[list[Machine], list[Node]]:
    machines = three(clock)
    nodes = [Node(f"node{n}", clock, [Line(m, random.Random(1)) for m in machines]) for n in (1, 2)]
    nodes[0].lines[0].cut = True
    return machines, nodes


def test_one_of_every_majority_knows_what_was_given_by_another_majority() -> None:
    """The primary raises its epoch while one member is away; then another one is away, and the primary gone."""
    for away in range(3):
        clock = VirtualClock()
        machines, (primary, other) = three_nodes_without_the_first_line_of_the_first(clock)

        async def main(primary: Node = primary, other: Node = other, away: int = away) -> list[Lease | Refusal]:
            await primary.quorum.acquire("web", "node1", 39)
            lease = await primary.quorum.acquire("web", "node1", 40)
            assert isinstance(lease, Lease)
            await asyncio.sleep(5 * LEASE_S)
            other.lines[away].cut = True
            return [await other.quorum.acquire("web", "node2", 0, lease.epoch + more) for more in (-1, 0)]

        refused, given = clock.run(main())
        assert isinstance(refused, Refusal)
        assert "node1 had it since, with epoch 40" in refused.reason
        assert isinstance(given, Lease), (away, given, machines)


def test_what_a_minority_granted_for_nothing_is_not_held_against_another_node() -> None:
    clock = VirtualClock()
    machines, (one, other) = three_nodes_without_the_first_line_of_the_first(clock)
    one.lines[1].cut = True

    async def main() -> Lease | Refusal:
        with pytest.raises(PeerError):
            await one.quorum.acquire("web", "node1", 50)
        other.lines[0].cut = True
        return await other.quorum.acquire("web", "node2", 0, 0)

    assert clock.run(main()) == Lease(51, LEASE_S)
    assert machines[2].disk["web"].past.to_others_than("node2") == ("", 0)


def test_the_epoch_of_a_majority_is_greater_than_that_of_every_member() -> None:
    clock = VirtualClock()
    machines = three(clock)
    for machine, greatest in zip(machines, (3, 9, 5), strict=True):
        machine.boot({"web": Record("", greatest, greatest, LEASE_S)})
    node = Node("node1", clock, [Line(m, random.Random(1)) for m in machines])

    async def main() -> Lease | Refusal:
        await asyncio.sleep(20.0)
        return await node.quorum.acquire("web", "node1", 0)

    assert clock.run(main()) == Lease(10, LEASE_S)
    assert [machine.disk["web"].epoch for machine in machines] == [10, 10, 10]


def test_a_renewal_brings_back_a_member_that_has_lost_it_or_gone_ahead() -> None:
    clock = VirtualClock()
    machines = three(clock)
    node = Node("node1", clock, [Line(m, random.Random(1)) for m in machines])
    other = Node("node2", clock, [Line(m, random.Random(1)) for m in machines])
    for line in (node.lines[2], *other.lines[:2]):
        line.cut = True

    async def main() -> None:
        lease = await node.quorum.acquire("web", "node1", 0)
        assert isinstance(lease, Lease)
        for _ in range(5):
            with pytest.raises(PeerError):
                await other.quorum.acquire("web", "node2", 0)
        assert machines[2].disk["web"].greatest > lease.epoch
        node.lines[2].cut = False
        machines[1].boot({})
        assert await node.quorum.renew("web", "node1", lease.epoch) == lease
        assert {(m.disk["web"].node, m.disk["web"].epoch) for m in machines} == {("node1", lease.epoch)}

    clock.run(main())


def test_a_lease_that_was_given_back_is_not_renewed_whatever_is_still_under_way() -> None:
    clock = VirtualClock()
    node = Node("node1", clock, [Line(m, random.Random(1)) for m in three(clock)[:1]])

    async def main() -> None:
        lease = await node.quorum.acquire("web", "node1", 0)
        assert isinstance(lease, Lease)
        node.lines[0].cut = True
        with pytest.raises(PeerError):
            await node.quorum.release("web", "node1", lease.epoch)
        node.lines[0].cut = False
        assert isinstance(await node.quorum.renew("web", "node1", lease.epoch), Refusal)

    clock.run(main())
