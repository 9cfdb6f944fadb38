"""One witness as a machine: what it promises under wrong clocks, crashes and old disks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from safekit_witness.leases import Leases, Record
from safekit_witness.messages import Acquire, Event, Granted, Refused, Release, Reply, Undo

from .events import NODES, SINCE, TTL_S, acquire, renew

RATES = (0.9, 1.0, 1.1)
AT_ONCE = st.sampled_from((True, True, False))
KNOWN = st.sampled_from(("all", "all but the last", "nothing", "whatever was", "whatever was"))


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
        self.given: list[tuple[str, int]] = []
        """To whom which epoch was given, whether it heard of it or not; without what it has undone."""

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

    @rule(node=st.sampled_from(NODES), at_once=AT_ONCE, ttl_s=st.sampled_from((10.0, 10.0, 5.0)), known=KNOWN)
    def a_node_asks_for_it(self, node: str, at_once: bool, ttl_s: float, known: str) -> None:
        self.send(node, acquire(node, ttl_s=TTL_S if self.forgets else ttl_s, after=self.epoch_of(known)), at_once)

    def epoch_of(self, known: str) -> int | None:
        last_but_one, last = sorted([0, 0, *(epoch for _, epoch in self.given)])[-2:]
        return {"all": last, "all but the last": last_but_one, "nothing": 0}.get(known)

    def is_unused(self, flight: Flight) -> bool:
        reply = flight.reply
        return isinstance(flight.event, Acquire) and isinstance(reply, Granted) and not reply.former

    @precondition(lambda self: any(map(self.is_unused, self.flights)))
    @rule(data=st.data(), at_once=AT_ONCE)
    def a_node_undoes_what_it_does_not_use(self, data: Any, at_once: bool) -> None:
        flight = data.draw(st.sampled_from([one for one in self.flights if self.is_unused(one)]))
        self.flights.remove(flight)
        assert isinstance(flight.reply, Granted)
        self.send(flight.node, Undo(node=flight.node, epoch=flight.reply.epoch), at_once)

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
            self.remember(flight, outcome.reply)
        self.compare(flight, outcome.reply)
        if crash == "after":
            self.the_witness_crashes()
            return
        self.leases.accept("paris", "web", outcome.entry)
        flight.reply = outcome.reply

    def remember(self, flight: Flight, reply: Reply) -> None:
        if isinstance(flight.event, Acquire) and isinstance(reply, Granted):
            self.given.append((flight.node, reply.epoch))
        elif isinstance(flight.event, Undo):
            self.given.remove((flight.node, flight.event.epoch))

    def compare(self, flight: Flight, reply: Reply) -> None:
        """Who does not know of another node's is never given one; who knows of all of them, is never refused for it."""
        if self.forgets or not isinstance(flight.event, Acquire):
            return
        others = max((epoch for node, epoch in self.given if node != flight.node), default=0)
        after = others if flight.event.after is None else flight.event.after
        if isinstance(reply, Granted):
            assert others <= after
        elif isinstance(reply, Refused) and SINCE in reply.reason:
            assert others > after

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
