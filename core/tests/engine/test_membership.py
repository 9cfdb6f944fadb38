"""Who is alive: several networks, several incarnations, heartbeats in any order, and this node's own sleep."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safekit import engine
from safekit.engine import membership
from safekit.engine.actions import Explain
from safekit.engine.events import Configured, Event, HeartbeatHeard, TimePassed
from safekit.engine.membership import Membership
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import MembershipSpec

from . import kit
from .kit import (
    AVAILABILITY,
    IDLE,
    INTERVAL_S,
    LOST_AFTER_S,
    MODULE,
    PRIMARY,
    SECOND,
    WAIT,
    Bench,
    second,
    spec,
    waiting,
)


def beat(sequence: int, *, incarnation: int = 1, heard: int | None = 1) -> Heartbeat:
    return Heartbeat("b", incarnation, sequence, (), () if heard is None else (("a", heard),))


def known(now_s: float = 0.0) -> Membership:
    return membership.configure(Membership(), kit.membership("a"), now_s)


def hear(state: Membership, message: Heartbeat, now_s: float, network: str = "net1") -> Membership:
    return membership.hear(state, network, message, now_s).membership


def tick_until(state: Membership, now_s: float, until_s: float) -> tuple[Membership, list[float]]:
    """Tick every interval; return when something was lost."""
    lost = []
    while now_s < until_s:
        now_s = round(now_s + INTERVAL_S, 3)
        ticked = membership.tick(state, now_s)
        state = ticked.membership
        if ticked.lost:
            lost.append(now_s)
    return state, lost


def test_a_peer_is_alive_from_its_first_heartbeat() -> None:
    heard = membership.hear(known(), "net1", beat(1), 0.5)
    assert heard.returned
    assert heard.membership.peers["b"].alive


def test_a_peer_is_lost_after_the_loss_time_and_not_before() -> None:
    state = hear(known(), beat(1), 0.0)
    _, lost = tick_until(state, 0.0, 3.0)
    assert lost == [LOST_AFTER_S]


def test_a_peer_is_lost_when_it_is_silent_on_every_network() -> None:
    state = hear(known(), beat(1), 0.0, "net1")
    state, lost = tick_until(state, 0.0, 0.6)
    state = hear(state, beat(2), 0.6, "net2")
    state, more = tick_until(state, 0.6, 3.0)
    assert lost + more == [1.6]
    assert state.peers["b"].heard_s == {"net1": 0.0, "net2": 0.6}


def test_the_same_heartbeat_on_the_second_network_counts_for_that_network() -> None:
    state = hear(known(), beat(1), 0.0, "net1")
    heard = membership.hear(state, "net2", beat(1), 0.1)
    assert not heard.reports
    assert heard.membership.peers["b"].heard_s["net2"] == 0.1


def test_a_stranger_is_ignored() -> None:
    heard = membership.hear(known(), "net1", Heartbeat("x", 1, 1), 0.0)
    assert heard.membership == known()


def test_an_earlier_incarnation_is_ignored() -> None:
    state = hear(known(), beat(1, incarnation=2), 0.0)
    heard = membership.hear(state, "net1", beat(99, incarnation=1), 0.5)
    assert heard.membership is state


def test_a_new_incarnation_begins_its_sequence_anew() -> None:
    state = hear(known(), beat(99, incarnation=1), 0.0)
    heard = membership.hear(state, "net1", beat(1, incarnation=2), 0.5)
    assert heard.restarted
    assert heard.membership.peers["b"].sequence == 1


def test_reports_never_go_back_in_time() -> None:
    bench = second()
    bench.hear(replace(PRIMARY, epoch=3))
    late = Heartbeat("b", 1, bench.sequence - 1, ((MODULE, IDLE),))
    bench.tell(HeartbeatHeard("net1", late))
    assert bench.m.state is SECOND
    assert not bench.m.claim


@given(order=st.permutations(range(1, 8)))
def test_of_heartbeats_in_any_order_the_latest_stands(order: list[int]) -> None:
    state = known()
    for sequence in order:
        report = replace(IDLE, epoch=sequence)
        state = hear(state, Heartbeat("b", 1, sequence, ((MODULE, report),)), 0.1)
    assert state.peers["b"].sequence == 7
    assert state.peers["b"].modules[MODULE].epoch == 7


def test_an_unchanged_heartbeat_leaves_the_modules_as_they_are() -> None:
    bench = second()
    before = bench.node.modules
    for _ in range(5):
        assert bench.hear() == ()
        assert bench.node.modules is before


def test_a_tick_without_news_leaves_the_modules_as_they_are() -> None:
    for bench in (second(), kit.prim(), kit.alone(), kit.stopped()):
        bench.hear()
        bench.pass_time(2.0)
        before = bench.node.modules
        assert bench.pass_time(3.0) == []
        assert bench.node.modules is before


def test_a_node_that_waits_computes_without_changing_anything() -> None:
    bench = waiting()
    bench.pass_time(2.0)
    before = bench.node.modules
    assert bench.pass_time(3.0) == []
    assert bench.node.modules is before


def test_time_in_which_a_node_slept_is_not_listening() -> None:
    state = hear(known(), beat(1), 0.0)
    ticked = membership.tick(state, 30.0)
    assert ticked.slept_s == 30.0
    assert not ticked.lost
    _, lost = tick_until(ticked.membership, 30.0, 33.0)
    assert lost == [30.0 + LOST_AFTER_S]


def test_a_node_that_slept_before_its_first_tick_knows_it() -> None:
    assert membership.tick(known(0.0), 5.0).slept_s == 5.0


@pytest.mark.parametrize(("gap_s", "slept"), [(0.1, False), (0.45, False), (0.6, True)])
def test_a_late_tick_is_a_sleep_from_half_the_loss_time_on(gap_s: float, slept: bool) -> None:
    ticked = membership.tick(known(0.0), gap_s)
    assert bool(ticked.slept_s) is slept


def test_a_peer_that_was_never_heard_is_absent_after_the_loss_time_of_listening() -> None:
    state = known(10.0)
    assert not membership.absent(state, "b", 10.9)
    assert membership.absent(state, "b", 11.0)


def test_a_peer_that_is_new_in_the_cluster_is_listened_for_first() -> None:
    state = membership.configure(Membership(), kit.membership("a", ("a",)), 0.0)
    state, _ = tick_until(state, 0.0, 20.0)
    state = membership.configure(state, kit.membership("a"), 20.0)
    assert not membership.absent(state, "b", 20.5)
    assert membership.absent(state, "b", 21.0)


def test_a_reconfiguration_forgets_no_peer() -> None:
    state = hear(known(), beat(4), 0.0)
    again = membership.configure(state, kit.membership("a", lost_after_s=2.0), 0.1)
    assert again.peers["b"] == state.peers["b"]
    _, lost = tick_until(again, 0.1, 4.0)
    assert lost == [2.0]


def test_a_peer_that_does_not_hear_us_is_deaf_after_the_loss_time() -> None:
    state = known()
    for index in range(1, 15):
        state = hear(state, beat(index, heard=None), index / 10)
        state = membership.tick(state, index / 10).membership
        assert membership.deaf(state, "b", index / 10) is (index / 10 >= 0.1 + LOST_AFTER_S)
    state = hear(state, beat(20, heard=3), 1.5)
    assert not membership.deaf(state, "b", 10.0)


def test_a_peer_that_is_lost_is_not_deaf() -> None:
    state = hear(known(), beat(1, heard=None), 0.0)
    state, _ = tick_until(state, 0.0, 5.0)
    assert not membership.deaf(state, "b", 5.0)


def test_what_a_node_hears_is_in_its_own_heartbeats() -> None:
    bench = second()
    assert engine.heard(bench.node) == (("b", bench.sequence),)
    bench.silence()
    bench.pass_time(2.0)
    assert engine.heard(bench.node) == ()


def test_the_loss_of_a_peer_is_noted_once() -> None:
    bench = second(spec=AVAILABILITY)
    bench.silence()
    said = [a for a in bench.pass_time(5.0) if isinstance(a, Explain) and a.rule == "peer-lost"]
    assert len(said) == 1
    assert said[0].severity == "warning"


def test_a_restart_of_the_peers_daemon_is_noted() -> None:
    bench = second()
    bench.peer_incarnation = 2
    assert any(said.rule == "peer-restarted" for said in _explained(bench, bench.hear()))


def _explained(bench: Bench, actions: object) -> list[Explain]:
    return [action for action in bench.last if isinstance(action, Explain)]


STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 15)), min_size=1, max_size=5)
"""Whether the other node is heard, and for how many intervals."""


class Clocked:
    """A node whose time passes every `tick_ms`, or only each interval and at its own deadlines (0)."""

    def __init__(self, tick_ms: int) -> None:
        module = replace(AVAILABILITY, rules=(kit.rule("restart", hold_s=0.73),))
        self.tick_ms = tick_ms
        self.node = engine.new_node("a")
        self.seen: list[tuple[int, object]] = []
        self.now_ms = 0
        self.sequence = 0
        for event in (Configured(kit.membership("a"), (module,)), *kit.start_events()):
            self.tell(event, 0)

    def tell(self, event: Event, at_ms: int) -> None:
        self.node, actions = engine.step(self.node, event, at_ms / 1000)
        for answer in kit.answers(actions):
            self.tell(answer, at_ms)
        states = [(module.state, module.readiness, module.reason) for module in self.node.modules.values()]
        if not self.seen or self.seen[-1][1] != states:
            self.seen.append((at_ms, states))

    def interval(self, *, heard: bool) -> None:
        until_ms = self.now_ms + 100
        while (at_ms := self._next_ms()) < until_ms:
            self.tell(TimePassed(), at_ms)
            self.now_ms = at_ms
        self.now_ms = until_ms
        self.tell(TimePassed(), until_ms)
        if heard:
            self.sequence += 1
            beat = Heartbeat("b", 1, self.sequence, ((MODULE, PRIMARY),), (("a", self.sequence),))
            self.tell(HeartbeatHeard("net1", beat), until_ms)
            self.tell(kit.down() if self.sequence % 9 else kit.back_up(), until_ms)

    def _next_ms(self) -> int:
        if self.tick_ms:
            return self.now_ms + self.tick_ms
        due_s = engine.next_deadline(self.node)
        if due_s is None:
            return 1 << 60
        at_ms = max(math.floor(due_s * 1000), self.now_ms)
        return at_ms if at_ms / 1000 >= due_s else at_ms + 1


def states_over_time(steps: list[tuple[bool, int]], tick_ms: int) -> list[tuple[int, object]]:
    clocked = Clocked(tick_ms)
    for heard, intervals in steps:
        for _ in range(intervals):
            clocked.interval(heard=heard)
    return clocked.seen


@settings(deadline=None, max_examples=30)
@given(steps=STEPS)
def test_time_need_only_pass_at_the_deadlines(steps: list[tuple[bool, int]]) -> None:
    """Ticking every millisecond leads to the same states at the same times."""
    assert states_over_time(steps, tick_ms=0) == states_over_time(steps, tick_ms=1)


def test_the_next_deadline_is_the_loss_of_the_peer() -> None:
    bench = second()
    assert engine.next_deadline(bench.node) == pytest.approx(bench.now_s + LOST_AFTER_S)


def test_the_next_deadline_is_that_of_the_run_under_way() -> None:
    bench = Bench(spec=spec(nodes=("a",), start_bound_s=0.3, stop_bound_s=0.2))
    bench.host_ready()
    assert bench.m.run is not None
    assert engine.next_deadline(bench.node) == pytest.approx(bench.now_s + 0.5)
    assert bench.m.state is not WAIT


def test_after_a_start_or_a_sleep_a_peer_has_the_time_that_its_link_takes_to_come_up() -> None:
    spec = MembershipSpec("a", ("b",), ("lan",), 0.1, 1.0, link_up_s=2.0)
    state = membership.configure(membership.Membership(), spec, 10.0)
    for now_s in (10.1, 11.5, 11.9):
        assert not membership.absent(membership.tick(state, now_s).membership, "b", now_s)
    assert membership.absent(state, "b", 12.0)
    for tenth in range(101, 200):
        state = membership.tick(state, tenth / 10).membership
    slept = membership.tick(state, 60.0)
    assert slept.slept_s
    assert not membership.absent(slept.membership, "b", 61.9)
    assert membership.absent(slept.membership, "b", 62.0)


def test_a_peer_that_was_heard_is_lost_as_soon_as_ever() -> None:
    spec = MembershipSpec("a", ("b",), ("lan",), 0.1, 1.0, link_up_s=2.0)
    state = membership.configure(membership.Membership(), spec, 10.0)
    for tenth in range(101, 151):
        state = membership.tick(state, tenth / 10).membership
    state = membership.hear(state, "lan", Heartbeat("b", 1, 1), 15.0).membership
    for tenth in range(151, 160):
        state = membership.tick(state, tenth / 10).membership
    assert membership.tick(state, 16.0).lost == ("b",)
