"""Which data are whose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safekit_resource_rfs.claims import read_claim, write_claim
from safekit_resource_rfs.generations import (
    MAX_ANCESTORS,
    Comparison,
    Durable,
    Generation,
    Plan,
    Standing,
    Verdict,
    is_trusted,
    judge,
    plan,
)

G1 = Generation("1", 1)
G2 = G1.next("2", 2)
G3 = G1.next("3", 3)


@pytest.mark.parametrize(
    ("own", "other", "verdict"),
    [
        (G1, G1, Verdict.SAME),
        (G2, G1, Verdict.I_DESCEND),
        (G1, G2, Verdict.IT_DESCENDS),
        (G2, G3, Verdict.SPLIT),
        (G2, Generation("9", 9), Verdict.UNRELATED),
        (G2, Generation(), Verdict.EMPTY_THERE),
        (Generation(), G2, Verdict.EMPTY_HERE),
    ],
)
def test_two_histories_are_judged(own: Generation, other: Generation, verdict: Verdict) -> None:
    assert judge(own, other) is verdict


def test_a_history_is_bounded() -> None:
    generation = G1
    for number in range(100):
        generation = generation.next(str(number + 10), 1)
    assert len(generation.ancestors) == MAX_ANCESTORS


def paired(generation: Generation = G1, **more: object) -> Durable:
    base = Durable(generation, up_to_date=True, paired=True, clean=False, boot="a", marks_since=generation.id)
    return replace(base, **more)  # type: ignore[arg-type]


def test_a_reboot_of_a_paired_node_is_a_reason_for_doubt_and_a_restart_is_none() -> None:
    assert paired().opened("a").standing is Standing.UP
    assert paired().opened("b").standing is Standing.DOUBT
    assert paired().closed().opened("b").standing is Standing.UP
    assert paired(paired=False).opened("b").standing is Standing.UP, "nobody else can have more"


def test_standing_alone_takes_a_new_id_where_another_node_may_have_the_old() -> None:
    assert paired().alone("2", 5).generation == Generation("2", 5, ("1",))
    alone = paired(paired=False).alone("2", 5)
    assert alone.generation == Generation("1", 5)


def test_who_is_trusted_when_memory_was_lost() -> None:
    doubt = paired().opened("b")
    was_primary = replace(doubt, primary=True)
    assert not is_trusted(doubt, paired(), prefer_own=True), "the other one has everything"
    assert is_trusted(was_primary, doubt, prefer_own=False)
    assert not is_trusted(doubt, was_primary, prefer_own=True)
    assert is_trusted(doubt, doubt, prefer_own=True)
    assert is_trusted(doubt, paired().behind(), prefer_own=False)
    assert is_trusted(paired(G2).opened("b"), paired(G1), prefer_own=False), "the other one never had this version"
    assert not is_trusted(paired(G1).opened("b"), paired(G2).opened("b"), prefer_own=True)


def test_who_left_is_trusted_only_when_the_other_lost_its_memory_and_has_not_gone_on() -> None:
    left, lost = paired().leaving(), paired(primary=True).opened("b")
    assert left.standing is Standing.DOUBT
    assert is_trusted(left, lost, prefer_own=False)
    assert not is_trusted(lost, left, prefer_own=True), "only the one that left has all that was acknowledged"
    assert not is_trusted(left, paired(), prefer_own=True)
    assert not is_trusted(left, paired(primary=True).alone("2", 1), prefer_own=True)
    assert not is_trusted(left, Durable(), prefer_own=True), "what went on alone may be lost with its disk"
    assert not is_trusted(left.opened("b"), lost, prefer_own=True), "it lost its memory before all was on its disk"
    for later in (left.behind(), left.with_all(G2, 0), left.alone("2", 2), left.trusted()):
        assert not later.left


@pytest.mark.parametrize("durable", [paired(), paired().leaving(), paired().opened("b"), paired().behind()])
def test_what_the_other_node_is_told_says_how_a_node_stands(durable: Durable) -> None:
    told = read_claim(write_claim(durable))
    assert told
    assert (told.standing, told.left) == (durable.standing, durable.left)


def test_marks_are_enough_when_they_reach_back_to_what_both_had() -> None:
    alone = paired().alone("2", 2)
    assert plan(alone, paired()) == Plan(Comparison.MARKS, False)
    assert plan(paired(), paired()) == Plan(Comparison.MARKS, False)
    later = replace(alone, marks_since="2")
    assert plan(later, paired()) == Plan(Comparison.FULL, False)


def test_a_split_brain_is_compared_by_the_marks_of_both_and_keeps_what_the_loser_has() -> None:
    assert plan(paired().alone("2", 2), paired().alone("3", 3)) == Plan(Comparison.MARKS, True)


def test_a_disk_that_is_older_than_the_cleared_marks_is_compared_completely() -> None:
    assert plan(paired(cleared=5, stable=5), paired(stable=4)) == Plan(Comparison.FULL, False)
    assert plan(paired(cleared=5, stable=5), paired(stable=5)) == Plan(Comparison.MARKS, False)


def test_newer_data_are_not_overwritten() -> None:
    assert plan(paired(G1), paired(G2)) is None
    assert plan(Durable(), paired(G2)) is None


def test_empty_and_unrelated_nodes_are_compared_completely_and_what_they_have_is_kept() -> None:
    assert plan(paired(), Durable()) == Plan(Comparison.FULL, True)
    assert plan(paired(), paired(Generation("9", 9))) == Plan(Comparison.FULL, True)
