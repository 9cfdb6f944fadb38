"""One witness as a pure machine: what it promises under wrong clocks, crashes and old disks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from safekit_witness.leases import GUARD, MAX_CLUSTERS, MAX_MODULES, Leases, Record
from safekit_witness.messages import (
    MAX_EPOCH,
    Acquire,
    Event,
    Granted,
    Join,
    Probe,
    Refused,
    Release,
    Renew,
    Reply,
    Told,
)

NODES = ("node1", "node2", "node3")
RATES = (0.9, 1.0, 1.1)
TTL_S = 10.0
AT_ONCE = st.sampled_from((True, True, False))


def fresh(at_s: float = 1000.0) -> Leases:
    """Of a witness that has run for long."""
    return Leases(started_s=at_s - 1000.0)


def tell(leases: Leases, event: Event, now_s: float, module: str = "web") -> Reply:
    outcome = leases.decide("paris", module, event, now_s)
    leases.accept("paris", module, outcome.entry)
    return outcome.reply


def acquire(node: str, epoch: int = 0, ttl_s: float = TTL_S) -> Acquire:
    return Acquire(node=node, epoch=epoch, ttl_s=ttl_s)


def renew(node: str, epoch: int, *, held: bool = True, ttl_s: float = TTL_S) -> Renew:
    return Renew(node=node, epoch=epoch, ttl_s=ttl_s, held=held)


def restarted(leases: Leases, at_s: float) -> Leases:
    after = Leases(at_s)
    for cluster, module, entry in leases.all():
        after.restore(cluster, module, entry.record)
    return after


def test_a_lease_goes_to_another_node_only_after_the_guard() -> None:
    leases = fresh()
    assert tell(leases, acquire("node1"), 1000.0) == Granted(epoch=1, ttl_s=TTL_S)
    assert isinstance(tell(leases, acquire("node2"), 1000.0 + GUARD * TTL_S - 0.01), Refused)
    assert tell(leases, acquire("node2"), 1000.0 + GUARD * TTL_S) == Granted(epoch=2, ttl_s=TTL_S)
    assert GUARD >= 1.1 / 0.9


def test_a_renewal_needs_no_disk_unless_the_lease_gets_longer() -> None:
    leases = fresh()
    first = leases.decide("paris", "web", acquire("node1"), 1000.0)
    assert first.must_keep
    leases.accept("paris", "web", first.entry)
    assert not leases.decide("paris", "web", renew("node1", 1), 1005.0).must_keep
    assert leases.decide("paris", "web", renew("node1", 1, ttl_s=20.0), 1005.0).must_keep


def test_a_shorter_renewal_does_not_end_what_was_promised_before() -> None:
    leases = fresh()
    tell(leases, acquire("node1", ttl_s=100.0), 1000.0)
    tell(leases, renew("node1", 1, ttl_s=1.0), 1001.0)
    assert isinstance(tell(leases, acquire("node2"), 1100.0), Refused)
    assert isinstance(tell(restarted(leases, 1010.0), acquire("node2"), 1130.0), Refused)


def test_another_lease_of_the_same_node_does_not_shorten_the_former() -> None:
    leases = fresh()
    tell(leases, acquire("node1", ttl_s=100.0), 1000.0)
    assert tell(leases, acquire("node1", ttl_s=1.0), 1000.0) == Granted(epoch=2, ttl_s=1.0, former=True)
    assert isinstance(tell(leases, acquire("node2"), 1100.0), Refused)


def test_a_lease_that_ran_out_and_went_to_nobody_is_renewed() -> None:
    leases = fresh()
    tell(leases, acquire("node1"), 1000.0)
    assert isinstance(tell(leases, renew("node1", 1, held=False), 2000.0), Granted)


def test_after_a_restart_everything_counts_in_full_from_the_restart() -> None:
    leases = fresh()
    tell(leases, acquire("node1"), 1000.0)
    after = restarted(leases, 1011.0)
    assert isinstance(tell(after, acquire("node2"), 1011.0 + GUARD * TTL_S - 0.01), Refused)
    assert isinstance(tell(after, acquire("node2"), 1011.0 + GUARD * TTL_S), Granted)


def test_after_a_restart_the_holder_goes_on_at_once_and_only_while_it_holds() -> None:
    leases = fresh()
    tell(leases, acquire("node1"), 1000.0)
    assert isinstance(tell(restarted(leases, 1001.0), renew("node1", 1, held=False), 1002.0), Refused)
    after = restarted(leases, 1001.0)
    assert isinstance(tell(after, renew("node1", 1), 1002.0), Granted)
    assert isinstance(tell(after, Release(node="node1", epoch=1, held=True), 1003.0), object)
    assert tell(after, acquire("node2"), 1003.0) == Granted(epoch=2, ttl_s=TTL_S)


@pytest.mark.parametrize("known", [None, Record("node1", 3, 3, TTL_S), Record("", 3, 3, TTL_S)])
def test_a_holder_teaches_an_old_or_empty_disk_what_it_has_forgotten(known: Record | None) -> None:
    leases = Leases(1000.0)
    if known:
        leases.restore("paris", "web", known)
    assert isinstance(tell(leases, acquire("node1"), 1001.0), Refused)
    taught = leases.decide("paris", "web", renew("node2", 7), 1002.0)
    assert (taught.reply, taught.must_keep) == (Granted(epoch=7, ttl_s=TTL_S, former=True), True)
    leases.accept("paris", "web", taught.entry)
    assert isinstance(tell(leases, acquire("node1"), 1014.0), Refused)
    assert tell(leases, acquire("node1"), 1015.0) == Granted(epoch=8, ttl_s=TTL_S)


def test_a_lease_of_other_witnesses_joins_only_what_has_not_moved() -> None:
    leases = fresh()
    tell(leases, acquire("node2", epoch=9), 1000.0)
    join = Join(node="node1", epoch=6, seen=9, ttl_s=TTL_S)
    assert isinstance(tell(leases, join, 1001.0), Refused)
    tell(leases, Release(node="node2", epoch=9, held=False), 1002.0)
    assert isinstance(tell(leases, join.model_copy(update={"seen": 8}), 1002.0), Refused)
    assert tell(leases, join, 1002.0) == Granted(epoch=6, ttl_s=TTL_S, former=True)
    assert isinstance(tell(leases, renew("node1", 6), 1003.0), Granted)
    tell(leases, Release(node="node1", epoch=6, held=True), 1004.0)
    assert tell(leases, acquire("node2"), 1004.0) == Granted(epoch=10, ttl_s=TTL_S)


def test_epochs_end_before_they_turn_around() -> None:
    leases = fresh()
    assert isinstance(tell(leases, acquire("node1", epoch=MAX_EPOCH), 1000.0), Granted)
    reply = tell(leases, acquire("node1"), 1000.0)
    assert isinstance(reply, Refused)
    assert "used up" in reply.reason


def test_modules_and_clusters_are_bounded() -> None:
    leases = fresh()
    for number in range(MAX_MODULES):
        assert isinstance(tell(leases, acquire("node1"), 1000.0, f"m{number}"), Granted)
    assert isinstance(tell(leases, acquire("node1"), 1000.0, "one-more"), Refused)
    assert isinstance(tell(leases, Probe(), 1000.0, "one-more"), Told)
    assert isinstance(tell(leases, renew("node1", 1), 1000.0, "m0"), Granted)
    for number in range(MAX_CLUSTERS):
        outcome = leases.decide(f"c{number}", "web", acquire("node1"), 1000.0)
        leases.accept(f"c{number}", "web", outcome.entry)
    assert isinstance(outcome.reply, Refused)


@dataclass(slots=True)
class Flight:
    """A request on its way, an answer on its way back, or both: what was sent, and when by the sender's clock."""

    node: str
    event: Event
    sent_s: float
    reply: Reply | None = None


@dataclass(slots=True)
class Holding:
    epoch: int
    until_s: float
    """By the node's own clock."""


class OneWitness(RuleBasedStateMachine):
    """Real time passes; every clock runs at its own rate. Messages are late or lost, the witness crashes anywhere."""

    forgets = False
    """Whether a disk may come back old or empty. Then epochs may come again; a holder is still the only one, where all
    nodes of a cluster ask for leases of the same length."""

    def __init__(self) -> None:
        super().__init__()
        self.real_s = 1000.0
        self.rates = dict.fromkeys((*NODES, "witness"), 1.0)
        self.leases = Leases(self.clock("witness"))
        self.disk: dict[str, Record] = {}
        self.old_disks: list[dict[str, Record]] = [{}]
        self.flights: list[Flight] = []
        self.holdings: dict[str, Holding] = {}
        self.greatest = 0

    def clock(self, who: str) -> float:
        return self.real_s * self.rates[who]

    def holds(self, node: str) -> bool:
        return node in self.holdings and self.clock(node) < self.holdings[node].until_s

    @initialize(rates=st.tuples(*[st.sampled_from(RATES)] * 4))
    def clocks_are_wrong(self, rates: tuple[float, ...]) -> None:
        self.rates = dict(zip((*NODES, "witness"), rates, strict=True))
        self.leases = Leases(self.clock("witness"))

    @rule(by_s=st.sampled_from((0.5, 3.0, 14.0)))
    def time_passes(self, by_s: float) -> None:
        self.real_s += by_s

    @precondition(lambda self: any(map(self.holds, NODES)))
    @rule()
    def it_is_the_last_moment_of_a_holder(self) -> None:
        holder = next(filter(self.holds, NODES))
        self.real_s = max(self.real_s, (self.holdings[holder].until_s - 0.01) / self.rates[holder])

    @rule(node=st.sampled_from(NODES))
    def a_node_asks_as_soon_as_the_witness_would_give_it(self, node: str) -> None:
        """The first moment at which, by the witness's own word."""
        reply = self.leases.decide("paris", "web", acquire(node), self.clock("witness")).reply
        if isinstance(reply, Refused):
            self.real_s += reply.wait_s / self.rates["witness"] + 1e-6
        self.send(node, acquire(node), at_once=True)

    @rule(node=st.sampled_from(NODES), at_once=AT_ONCE, ttl_s=st.sampled_from((10.0, 10.0, 5.0)))
    def a_node_asks_for_it(self, node: str, at_once: bool, ttl_s: float) -> None:
        self.send(node, acquire(node, ttl_s=TTL_S if self.forgets else ttl_s), at_once)

    @precondition(lambda self: self.holdings)
    @rule(data=st.data(), at_once=AT_ONCE)
    def a_node_renews(self, data: Any, at_once: bool) -> None:
        node = data.draw(st.sampled_from(sorted(self.holdings)))
        epoch = self.holdings[node].epoch
        self.send(node, renew(node, epoch, held=self.holds(node)), at_once)

    @precondition(lambda self: self.holdings)
    @rule(data=st.data(), at_once=AT_ONCE)
    def a_node_gives_it_back(self, data: Any, at_once: bool) -> None:
        node = data.draw(st.sampled_from(sorted(self.holdings)))
        held = self.holds(node)
        epoch = self.holdings.pop(node).epoch
        self.flights = [one for one in self.flights if one.node != node]
        self.send(node, Release(node=node, epoch=epoch, held=held), at_once)

    def send(self, node: str, event: Event, at_once: bool) -> None:
        """One after the other on one connection: what this node sent before arrives before."""
        flight = Flight(node, event, self.clock(node))
        self.flights.append(flight)
        if at_once:
            for one in [one for one in self.flights if one.node == node]:
                self.arrive(one)
            self.hear(flight)

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), crash=st.sampled_from(("no", "no", "before", "after")))
    def a_request_arrives(self, data: Any, crash: str) -> None:
        flight = data.draw(st.sampled_from(self.flights))
        first = next(one for one in self.flights if (one.node == flight.node and not one.reply) or one is flight)
        self.arrive(first, crash)

    def arrive(self, flight: Flight, crash: str = "no") -> None:
        if flight.reply is not None:
            return
        outcome = self.leases.decide("paris", "web", flight.event, self.clock("witness"))
        if crash == "before":
            self.the_witness_crashes()
            return
        if outcome.must_keep:
            assert outcome.entry
            self.old_disks.append(dict(self.disk))
            self.disk["web"] = outcome.entry.record
        if crash == "after":
            self.the_witness_crashes()
            return
        self.leases.accept("paris", "web", outcome.entry)
        flight.reply = outcome.reply

    @precondition(lambda self: any(one.reply for one in self.flights))
    @rule(data=st.data())
    def an_answer_arrives(self, data: Any) -> None:
        self.hear(data.draw(st.sampled_from([one for one in self.flights if one.reply])))

    def hear(self, flight: Flight) -> None:
        if flight in self.flights:
            self.flights.remove(flight)
        if not isinstance(flight.reply, Granted) or isinstance(flight.event, Release):
            return
        node, epoch, until_s = flight.node, flight.reply.epoch, flight.sent_s + flight.reply.ttl_s
        if isinstance(flight.event, Acquire) and not self.forgets:
            assert epoch not in (one.epoch for one in self.holdings.values()), "no epoch is given twice"
        present = self.holdings.get(node)
        if present is None or epoch > present.epoch:
            self.holdings[node] = Holding(epoch, until_s)
        elif epoch == present.epoch:
            present.until_s = max(present.until_s, until_s)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def a_message_is_lost(self, data: Any) -> None:
        """With it the connection, and all that was on it."""
        node = data.draw(st.sampled_from(self.flights)).node
        self.flights = [one for one in self.flights if one.node != node]

    @rule()
    def the_witness_crashes(self) -> None:
        """Answers that were sent may still arrive; requests on its connections do not."""
        self.flights = [one for one in self.flights if one.reply]
        self.leases = Leases(self.clock("witness"))
        for module, record in self.disk.items():
            self.leases.restore("paris", module, record)

    @invariant()
    def at_most_one_node_holds_it(self) -> None:
        holders = [node for node in NODES if self.holds(node)]
        assert len(holders) <= 1, self.holdings

    @invariant()
    def epochs_only_grow(self) -> None:
        entry = self.leases.get("paris", "web")
        greatest = entry.record.greatest if entry else 0
        assert self.forgets or greatest >= self.greatest
        self.greatest = greatest
        held = [one.epoch for node, one in self.holdings.items() if self.holds(node)]
        assert all(epoch <= max(greatest, *(o.epoch for o in self.holdings.values())) for epoch in held)


class ForgetfulWitness(OneWitness):
    forgets = True

    @rule(data=st.data())
    def it_comes_back_with_an_old_disk(self, data: Any) -> None:
        self.disk = dict(data.draw(st.sampled_from(self.old_disks)))
        self.the_witness_crashes()


OneWitness.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
ForgetfulWitness.TestCase.settings = OneWitness.TestCase.settings
TestOneWitness = OneWitness.TestCase
TestForgetfulWitness = ForgetfulWitness.TestCase
