"""One witness: what it decides, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safekit_witness.leases import GUARD, MAX_CLUSTERS, MAX_MODULES, Leases, Record
from safekit_witness.messages import MAX_EPOCH, Granted, Join, Probe, Refused, Release, Told, Undo
from safekit_witness.past import NO_PAST, Past, unknown

from .events import NODES, SINCE, TTL_S, acquire, fresh, renew, restarted, tell


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


def test_a_node_that_does_not_know_of_the_last_lease_of_another_is_refused_until_it_does() -> None:
    leases = fresh()
    tell(leases, acquire("node1", epoch=39), 1000.0)
    tell(leases, acquire("node1", epoch=40), 1001.0)
    assert "node1 has it" in tell(leases, acquire("node2", after=39), 1002.0).reason  # type: ignore[union-attr]
    for at_s in (1100.0, 1200.0):
        refused = leases.decide("paris", "web", acquire("node2", after=39), at_s)
        assert not refused.must_keep
        assert refused.entry == leases.get("paris", "web")
        assert isinstance(refused.reply, Refused)
        assert refused.reply.reason == "node1 had it since, with epoch 40: node2 may lack what was written then"
    assert tell(leases, acquire("node2", after=40), 1300.0) == Granted(epoch=41, ttl_s=TTL_S)


def test_by_force_whatever_was_and_then_the_other_node_is_the_one_that_has_to_know() -> None:
    leases = fresh()
    tell(leases, acquire("node1", epoch=40), 1000.0)
    for at_s in (1100.0, 1101.0):
        assert isinstance(tell(leases, acquire("node2"), at_s), Granted)
    assert SINCE in tell(leases, acquire("node2", after=39), 1102.0).reason  # type: ignore[union-attr]
    assert isinstance(tell(leases, acquire("node2", after=40), 1103.0), Granted)
    tell(leases, Release(node="node2", epoch=43, held=True), 1104.0)
    assert "node2 had it since, with epoch 43" in tell(leases, acquire("node1", after=42), 1105.0).reason  # type: ignore[union-attr]
    assert isinstance(tell(restarted(leases, 1106.0), acquire("node1", after=42), 1200.0), Refused)
    assert tell(restarted(leases, 1106.0), acquire("node1", after=43), 1200.0) == Granted(epoch=44, ttl_s=TTL_S)


def test_what_no_majority_gave_is_undone_without_a_trace_but_its_number() -> None:
    leases = fresh()
    tell(leases, acquire("node1"), 1000.0)
    tell(leases, acquire("node2", epoch=9), 1100.0)
    assert tell(leases, Undo(node="node1", epoch=9), 1101.0) == tell(leases, Undo(node="node2", epoch=8), 1101.0)
    assert isinstance(tell(leases, acquire("node1"), 1101.0), Refused), "neither was it"
    tell(leases, Undo(node="node2", epoch=9), 1101.0)
    assert tell(leases, acquire("node1", after=0), 1101.0) == Granted(epoch=10, ttl_s=TTL_S)
    tell(leases, Undo(node="node1", epoch=10), 1101.0)
    assert SINCE in tell(leases, acquire("node2", after=0), 1102.0).reason  # type: ignore[union-attr]


def test_a_holder_that_teaches_an_empty_disk_may_have_been_preceded_by_anybody() -> None:
    leases = Leases(1000.0)
    tell(leases, renew("node1", 7), 1001.0)
    assert SINCE in tell(leases, acquire("node1", after=5), 1002.0).reason  # type: ignore[union-attr]
    assert isinstance(tell(leases, acquire("node1", after=6), 1002.0), Granted)


@given(st.lists(st.tuples(st.sampled_from(NODES), st.integers(1, 9)), max_size=8))
def test_two_numbers_and_a_name_tell_everybody_what_anybody_else_was_given(leases: list[tuple[str, int]]) -> None:
    past = NO_PAST
    for node, epoch in leases:
        past = past.also(node, epoch)
    for asking in (*NODES, "node4"):
        others = [(epoch, node) for node, epoch in leases if node != asking]
        who, epoch = past.to_others_than(asking)
        assert epoch == max(others, default=(0, ""))[0]
        assert not who or (epoch, who) in others
        assert unknown(below=5).also("node1", 3).to_others_than(asking)[1] == 5
    assert Past("node1", 5, others=5).to_others_than("node1") == ("", 5)


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
