"""The membership against a model that is plain: lists of what was sent, heard and slept through, and no shortcuts."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from safekit.engine import membership
from safekit.engine.membership import Membership
from safekit.engine.reports import Heartbeat, ModuleReport, ModuleState, Readiness
from safekit.engine.spec import MembershipSpec

INTERVAL_MS = 100
LOST_MS = 1000
SLEEP_MS = 500
"""A pause longer than this is a sleep: with an interval before and after it is shorter than the loss time, and half of
that at most."""
NETWORKS = ("net1", "net2")
REPORTS = tuple(ModuleReport(state, Readiness.READY, 0, active=False, was_primary=False) for state in ModuleState)
EDGE_MS = 1
"""Nearer than this to a limit either answer is right: times are sums of floating-point numbers."""


@dataclass
class Sent:
    """One heartbeat of the peer."""

    incarnation: int
    sequence: int
    report: ModuleReport
    hears_us: bool


@dataclass
class Model:
    """What a careful reader of the promises would say. Times are whole milliseconds."""

    since_ms: int
    """Since when this node listens without a break."""
    last_tick_ms: int
    woke_ms: int | None = None
    heard_ms: dict[str, int] = field(default_factory=dict)
    newest: Sent | None = None
    alive: bool = False
    deaf_since_ms: int | None = None

    def silent_ms(self, now_ms: int) -> int:
        """For how long this node has listened for the peer in vain."""
        return now_ms - max([self.since_ms, *self.heard_ms.values()])


class MembershipMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 50_000
        self.sent: list[Sent] = []
        spec = MembershipSpec("a", ("b",), NETWORKS, INTERVAL_MS / 1000, LOST_MS / 1000)
        self.real = membership.configure(Membership(), spec, self.now_ms / 1000)
        self.model = Model(self.now_ms, self.now_ms)
        self.lost: tuple[str, ...] = ()

    @property
    def now_s(self) -> float:
        return self.now_ms / 1000

    @initialize()
    def boot(self) -> None:
        self.sent.append(Sent(1, 0, REPORTS[0], hears_us=False))

    @rule(report=st.sampled_from(REPORTS), hears_us=st.booleans())
    def send(self, report: ModuleReport, hears_us: bool) -> None:
        """The peer says something; it is on its way for as long as the network likes."""
        last = self.sent[-1]
        self.sent.append(Sent(last.incarnation, last.sequence + 1, report, hears_us))

    @rule()
    def restart(self) -> None:
        """The peer's daemon starts anew, and counts from the beginning."""
        self.sent.append(Sent(self.sent[-1].incarnation + 1, 0, REPORTS[0], hears_us=False))

    @rule(back=st.integers(0, 6), network=st.sampled_from(NETWORKS))
    def arrive(self, back: int, network: str) -> None:
        """Any of the last heartbeats, late, again, or in another order."""
        sent = self.sent[max(len(self.sent) - 1 - back, 0)]
        before = self.model.newest
        was_alive = self.model.alive
        heard = self._hear(sent, network)
        self.real = heard.membership
        newer = before is None or (sent.incarnation, sent.sequence) > (before.incarnation, before.sequence)
        if newer:
            self._take(sent, network)
            assert heard.returned == (not was_alive)
            assert heard.restarted == (before is not None and sent.incarnation > before.incarnation)
        else:
            if before is not None and sent.incarnation == before.incarnation:
                self.model.heard_ms[network] = self.now_ms
            assert not (heard.returned or heard.restarted or heard.reports)

    def _hear(self, sent: Sent, network: str) -> membership.Heard:
        heard = (("a", 1),) if sent.hears_us else ()
        beat = Heartbeat("b", sent.incarnation, sent.sequence, (("web", sent.report),), heard)
        return membership.hear(self.real, network, beat, self.now_s)

    def _take(self, sent: Sent, network: str) -> None:
        self.model.newest, self.model.alive = sent, True
        self.model.heard_ms[network] = self.now_ms
        if sent.hears_us:
            self.model.deaf_since_ms = None
        elif self.model.deaf_since_ms is None:
            self.model.deaf_since_ms = self.now_ms

    @rule(stranger=st.sampled_from(("c", "a")))
    def hear_a_stranger(self, stranger: str) -> None:
        heard = membership.hear(self.real, "net1", Heartbeat(stranger, 9, 9), self.now_s)
        assert heard == membership.Heard(self.real)

    @rule(interval_ms=st.sampled_from((INTERVAL_MS, 50, 137)), count=st.integers(1, 12))
    def tick(self, interval_ms: int, count: int) -> None:
        for _ in range(count):
            self._pass(interval_ms)

    @rule(pause_ms=st.sampled_from((400, 600, 900, 1100, 5000)))
    def sleep(self, pause_ms: int) -> None:
        self._pass(pause_ms)

    def _pass(self, pause_ms: int) -> None:
        """One tick after so long; the engine ticks before it looks at anything else."""
        self.now_ms += pause_ms
        ticked = membership.tick(self.real, self.now_s)
        model, gap_ms = self.model, self.now_ms - self.model.last_tick_ms
        model.last_tick_ms = self.now_ms
        slept = gap_ms > SLEEP_MS
        assert bool(ticked.slept_s) == slept
        if slept:
            model.since_ms = model.woke_ms = self.now_ms
        self.real = ticked.membership
        self._judge(ticked.lost)

    def _judge(self, lost: tuple[str, ...]) -> None:
        silent_ms = self.model.silent_ms(self.now_ms)
        if abs(silent_ms - LOST_MS) <= EDGE_MS:
            assert not lost or self.model.alive
        else:
            assert lost == (("b",) if self.model.alive and silent_ms > LOST_MS else ())
        if lost:
            self.model.alive, self.model.deaf_since_ms = False, None

    @invariant()
    def the_peer_is_known_by_its_newest_word(self) -> None:
        peer, newest = self.real.peers["b"], self.model.newest
        assert peer.alive == self.model.alive
        if newest is not None:
            assert (peer.incarnation, peer.sequence) == (newest.incarnation, newest.sequence)
            assert peer.modules == {"web": newest.report}

    @invariant()
    def absent_is_who_was_listened_for_in_vain(self) -> None:
        silent_ms = self.model.silent_ms(self.now_ms)
        if abs(silent_ms - LOST_MS) > EDGE_MS:
            expected = not self.model.alive and silent_ms > LOST_MS
            assert membership.absent(self.real, "b", self.now_s) == expected

    @invariant()
    def after_a_sleep_it_is_not_awake_for_the_loss_time(self) -> None:
        woke_ms = self.model.woke_ms
        if woke_ms is None:
            assert membership.awake(self.real, self.now_s)
        elif abs(self.now_ms - woke_ms - LOST_MS) > EDGE_MS:
            assert membership.awake(self.real, self.now_s) == (self.now_ms - woke_ms > LOST_MS)

    @precondition(lambda machine: machine.model.deaf_since_ms is not None)
    @invariant()
    def deaf_is_who_says_so_for_the_loss_time(self) -> None:
        assert self.model.deaf_since_ms is not None
        deaf_ms = self.now_ms - max(self.model.deaf_since_ms, self.model.since_ms)
        if abs(deaf_ms - LOST_MS) > EDGE_MS:
            assert membership.deaf(self.real, "b", self.now_s) == (deaf_ms > LOST_MS)

    @invariant()
    def it_is_woken_before_anything_changes_by_time(self) -> None:
        due_s = membership.deadline(self.real)
        if self.model.alive:
            assert due_s is not None
            due_ms = round(due_s * 1000)
            assert due_ms <= self.now_ms + LOST_MS - self.model.silent_ms(self.now_ms) + EDGE_MS


TestMembership = MembershipMachine.TestCase
TestMembership.settings = settings(max_examples=150, stateful_step_count=60, deadline=None, derandomize=True)
