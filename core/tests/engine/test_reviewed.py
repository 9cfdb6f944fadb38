"""What a review that was set on breaking the rules found: each is the sequence that broke one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine.actions import AskWitness, FenceSelf, KillHost, WitnessCall
from safekit.engine.data import PATIENCE_S
from safekit.engine.events import Command, PipelineFinished, WitnessAnswered
from safekit.engine.fence import AGAIN_S, YIELD_S
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import IsolationPolicy, ModuleSpec

from .kit import ALONE, INTERVAL_S, LOST_AFTER_S, MODULE, NODES, PRIM, READY, SECOND, Bench, alone, only, spec
from .mirrored import AVAILABLE, SAFE, WITNESSED, Hosted
from .third import LEASE_S, WITNESS, Third

FENCING = spec(has_data=True, fences=True)
ALONE_S = LOST_AFTER_S + PATIENCE_S + 2.0
"""By then a primary whose peer is lost has gone on, where nothing keeps it from that."""


def started(mirror: Hosted) -> Hosted:
    mirror.start()
    assert mirror.write()
    return mirror


def takes_over(mirror: Hosted, name: str) -> None:
    """The node, which is left by itself, serves what nobody has but it."""
    mirror.settle(3 * LEASE_S)
    assert mirror[name].shown == (ALONE, READY)
    assert mirror.write()


def is_not_primary_by_itself(mirror: Hosted, name: str) -> None:
    mirror.settle(4 * LEASE_S)
    assert not mirror[name].m.active
    assert mirror[name].m.wanted


def both_died(module: ModuleSpec = WITNESSED) -> Hosted:
    """First a, then b, which went on alone."""
    mirror = started(Hosted(module))
    mirror.lose_power("a")
    takes_over(mirror, "b")
    mirror.lose_power("b")
    mirror.settle(3 * LEASE_S)
    return mirror


def test_a_primary_that_reboots_learns_nothing_of_the_witness_while_it_makes_sure_that_nothing_runs() -> None:
    mirror = both_died()
    mirror.boot("a")
    mirror["a"].host_ready()
    assert mirror["a"].m.cleanup
    mirror.answer("a")
    asked = {action.call for action in mirror["a"].all if isinstance(action, AskWitness)}
    assert asked <= {WitnessCall.PROBE}
    mirror.slow.clear()
    is_not_primary_by_itself(mirror, "a")


@pytest.mark.parametrize("module", [WITNESSED, AVAILABLE], ids=["witness", "availability"])
def test_a_primary_that_died_and_boots_alone_waits_for_who_took_over_from_it(module: ModuleSpec) -> None:
    mirror = both_died(module)
    mirror.come_back("a")
    is_not_primary_by_itself(mirror, "a")


def test_who_handed_over_and_died_before_it_heard_of_the_new_primary_waits_for_it() -> None:
    mirror = started(Hosted(AVAILABLE))
    mirror.slow.add("a")
    mirror.command("a", Command.SWAP)
    mirror["a"].finish()
    mirror._obey("a")
    mirror.deliver(mirror.beat("a"), to="b")
    mirror.lose_power("a")
    mirror.slow.clear()
    takes_over(mirror, "b")
    mirror.lose_power("b")
    mirror.come_back("a")
    is_not_primary_by_itself(mirror, "a")


def test_who_agreed_to_a_take_over_and_died_before_it_heard_of_it_waits_for_the_new_primary() -> None:
    mirror = started(Hosted(AVAILABLE))
    mirror.command("a", Command.STOP)
    mirror.host("a")
    mirror.slow.add("b")
    while not mirror["a"].m.acknowledged:
        mirror.exchange()
    assert not mirror["b"].m.active
    mirror.deliver(mirror.beat("a"), to="b")
    mirror.lose_power("a")
    mirror.slow.clear()
    takes_over(mirror, "b")
    mirror.lose_power("b")
    mirror.come_back("a")
    mirror.command("a", Command.START)
    is_not_primary_by_itself(mirror, "a")


class Pinged(Third):
    """A witness that gives the lease to everybody who reaches it."""

    def answer(self, node: str, asked: AskWitness, now_s: float) -> WitnessAnswered:
        gives = asked.call in {WitnessCall.ACQUIRE, WitnessCall.RENEW}
        return WitnessAnswered(MODULE, asked.number, True, gives, max(asked.epoch, 1), LEASE_S)


def test_a_witness_that_gives_to_everybody_lets_no_node_be_primary_that_was_away() -> None:
    mirror = Hosted(replace(WITNESSED, witness=replace(WITNESS, exclusive=False)))
    mirror.third = Pinged()
    started(mirror)
    mirror.lose_power("b")
    takes_over(mirror, "a")
    mirror.lose_power("a")
    mirror.come_back("b")
    is_not_primary_by_itself(mirror, "b")


def first_and_second(mirror: Hosted) -> tuple[str, str]:
    first = next(name for name in NODES if mirror[name].shown == (PRIM, READY))
    second = next(name for name in NODES if mirror[name].shown == (SECOND, READY))
    return first, second


def healed(*, were_a_pair: bool) -> Hosted:
    """Both stood alone; the link is back, and both have the same again."""
    mirror = Hosted(AVAILABLE)
    mirror.forced = True
    if were_a_pair:
        started(mirror)
    mirror.parted.add("b")
    for name in NODES:
        mirror.command(name, Command.START)
    mirror.settle(ALONE_S)
    assert mirror.active() == {"a", "b"}
    mirror.parted.clear()
    mirror.settle(6 * LEASE_S)
    mirror.agree_on(set())
    mirror.forced = False
    assert mirror.write()
    first_and_second(mirror)
    return mirror


def test_after_a_split_brain_the_secondary_that_misses_writes_does_not_take_over() -> None:
    mirror = healed(were_a_pair=True)
    first, second = first_and_second(mirror)
    mirror.is_linked = False
    mirror.settle(ALONE_S)
    assert mirror.write()
    mirror.lose_power(first)
    is_not_primary_by_itself(mirror, second)


@pytest.mark.parametrize("were_a_pair", [True, False], ids=["cut", "first start"])
def test_after_a_split_brain_who_was_secondary_and_away_waits_for_the_primary(were_a_pair: bool) -> None:
    mirror = healed(were_a_pair=were_a_pair)
    first, second = first_and_second(mirror)
    mirror.lose_power(second)
    takes_over(mirror, first)
    mirror.lose_power(first)
    mirror.come_back(second)
    is_not_primary_by_itself(mirror, second)
    mirror.come_back(first)
    mirror.settle(6 * LEASE_S)
    assert first_and_second(mirror) == (first, second)


def test_a_primary_goes_on_when_its_secondary_is_heard_and_cannot_record_that_it_is_left_alone() -> None:
    mirror = started(Hosted(SAFE))
    mirror.full["b"] = mirror["b"].m.alone_epoch
    mirror.is_linked = False
    mirror.settle(1.0)
    assert mirror["a"].m.parting
    assert not mirror.write()
    mirror.settle(PATIENCE_S)
    assert mirror.write()
    mirror.lose_power("a")
    is_not_primary_by_itself(mirror, "b")


def taken_over_from_a_full_disk(module: ModuleSpec, *, cut: bool = False) -> Hosted:
    mirror = started(Hosted(module))
    mirror.full["a"] = mirror["a"].m.alone_epoch
    mirror.third.cut |= {"b"} if cut else set()
    mirror.command("a", Command.STOP)
    mirror.settle(6 * LEASE_S)
    return mirror


def kills(bench: Bench) -> list[KillHost]:
    return [action for action in bench.all if isinstance(action, KillHost)]


def test_a_secondary_starts_though_the_stopped_primary_cannot_record_it() -> None:
    mirror = taken_over_from_a_full_disk(SAFE)
    assert mirror["b"].shown == (ALONE, READY)
    assert kills(mirror["b"]) == []


def test_a_start_that_waits_for_the_witness_is_not_killed_and_runs_when_the_witness_is_back() -> None:
    mirror = taken_over_from_a_full_disk(WITNESSED, cut=True)
    assert kills(mirror["b"]) == []
    assert mirror["b"].m.wanted
    mirror.third.cut.clear()
    takes_over(mirror, "b")


class OneWay(Hosted):
    """What b sends arrives; what a sends may be lost."""

    is_lost = False

    def deliver(self, beat: Heartbeat, *, to: str) -> None:
        if to != "b" or not self.is_lost:
            super().deliver(beat, to=to)


def test_a_primary_that_is_not_heard_acknowledges_nothing_before_its_secondary_is_off() -> None:
    mirror = OneWay(FENCING)
    started(mirror)
    mirror.fencing_takes_s = 3.0
    mirror.is_lost, mirror.is_linked = True, False
    for _ in range(round((2 * LEASE_S) / INTERVAL_S)):
        mirror.exchange()
        assert not mirror.write() or mirror.off
    assert len(mirror.off) == 1
    assert mirror.write()


@pytest.mark.parametrize("how", ["stopstart", "host lost"])
def test_a_primary_that_could_not_fence_stands_alone_no_sooner_by_a_restart(how: str) -> None:
    mirror = started(Hosted(FENCING))
    mirror.cannot_fence.add("a")
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 1.0)
    if how == "stopstart":
        mirror.command("a", Command.STOPSTART)
    else:
        mirror["a"].host_lost()
    mirror.host("a")
    for _ in range(round(YIELD_S / INTERVAL_S)):
        assert not mirror.write() or mirror.off
        mirror.exchange()
    assert mirror.off == {"a"}
    takes_over(mirror, "b")


@pytest.mark.parametrize(("first", "other"), [("a", "b"), ("b", "a")], ids=["primary", "secondary"])
def test_the_operators_word_counts_where_fencing_fails_for_good(first: str, other: str) -> None:
    mirror = started(Hosted(FENCING))
    mirror.cannot_fence.add(first)
    mirror.lose_power(other)
    mirror.settle(3 * AGAIN_S)
    assert not mirror.write()
    mirror.command(first, Command.PRIM, force=True)
    mirror.settle(1.0)
    assert mirror[first].shown == (ALONE, READY)
    assert mirror.write()


def test_a_secondary_with_the_lease_takes_over_where_fencing_fails() -> None:
    mirror = started(Hosted(replace(FENCING, witness=WITNESS)))
    mirror.cannot_fence.add("b")
    mirror.lose_power("a")
    takes_over(mirror, "b")


def cut_off_primary() -> Bench:
    """ALONE by a lease, and neither the witness nor the peer is heard from now on."""
    bench = alone(spec=spec(witness=WITNESS))
    call = [action for action in bench.all if isinstance(action, AskWitness)][-1]
    bench.tell(WitnessAnswered(MODULE, call.number, True, True, 5, LEASE_S))
    bench.silence()
    return bench


def is_killed_with_the_node(bench: Bench, done: int) -> bool:
    told = bench.all[done:]
    only(FenceSelf, told)
    return any(isinstance(action, KillHost) and action.everything for action in told)


def test_what_a_lost_host_left_is_killed_at_the_end_of_the_lease_though_the_new_host_hangs() -> None:
    bench = cut_off_primary()
    done = len(bench.all)
    bench.host_lost("segmentation fault")
    bench.pass_time(LEASE_S + 1.0)
    assert is_killed_with_the_node(bench, done)


def test_what_no_stop_ends_is_killed_at_the_end_of_the_lease() -> None:
    bench = cut_off_primary()
    done = len(bench.all)
    for _ in range(round((LEASE_S + 1.0) / INTERVAL_S)):
        bench.pass_time(INTERVAL_S)
        if bench.m.run is not None and bench.m.run.order is None:
            bench.tell(PipelineFinished(MODULE, bench.m.run.number, False, "apache", "does not die", True))
    assert is_killed_with_the_node(bench, done)


class TwoConfigurations(Hosted):
    """a has the configuration with the witness; b, which was off when it came, the one before."""

    def __init__(self) -> None:
        super().__init__(spec(witness=WITNESS, signature="2"))
        self.benches["b"] = Bench("b", spec(isolation=IsolationPolicy.AVAILABILITY, signature="1"))
        self.lose_power("b")


def test_a_node_without_the_witness_of_the_other_does_not_run_beside_it() -> None:
    mirror = TwoConfigurations()
    mirror.command("a", Command.START)
    mirror.settle(4 * LEASE_S)
    mirror.come_back("b")
    mirror.command("b", Command.START)
    mirror.settle(2 * LEASE_S)
    mirror.parted.add("b")
    mirror.settle(4 * LEASE_S)
    assert mirror.active() == {"a"}
    assert "safekit apply" in mirror["b"].m.reason


def test_a_new_primary_whose_old_one_dies_during_the_swap_breaks_off_its_start_and_stands_alone() -> None:
    mirror = started(Hosted())
    mirror.command("a", Command.SWAP)
    mirror.host("a")
    mirror.slow.add("b")
    mirror.deliver(mirror.beat("a"), to="b")
    run = mirror["b"].m.run
    assert run is not None
    assert run.row.name == "swap-in"
    mirror.lose_power("a")
    mirror.part(LOST_AFTER_S + 1.0)
    assert mirror["b"].m.run is not None
    assert mirror["b"].m.run.killed
    mirror.slow.clear()
    takes_over(mirror, "b")
    assert mirror["b"].m.wanted
