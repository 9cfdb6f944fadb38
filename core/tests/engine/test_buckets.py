"""The map of a farm: fair, the same everywhere, and as little changed as may be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.engine import buckets
from safekit.engine.buckets import BUCKETS, NOBODY, assign, moved, quotas

NAMES = st.sampled_from([f"node{n}" for n in range(1, 13)])
WEIGHTS = st.dictionaries(NAMES, st.integers(0, 10), min_size=1, max_size=12)


def even(count: int) -> dict[str, int]:
    return {f"node{n}": 1 for n in range(1, count + 1)}


@given(WEIGHTS)
def test_every_bucket_has_an_owner_and_every_node_its_share(weights: dict[str, int]) -> None:
    owners = assign(weights)
    total = sum(weights.values())
    assert len(owners) == BUCKETS
    if total == 0:
        assert set(owners) == {NOBODY}
        return
    for node, weight in weights.items():
        assert abs(owners.count(node) - BUCKETS * weight / total) < 1
    assert NOBODY not in owners


@given(WEIGHTS, WEIGHTS)
def test_no_more_moves_than_the_shares_ask_for(first: dict[str, int], then: dict[str, int]) -> None:
    before = assign(first)
    after = assign(then, before)
    had, gets = Counter(before), quotas(then)
    needed = sum(max(count - had[node], 0) for node, count in gets.items())
    left_without = BUCKETS - sum(gets.values())
    assert moved(before, after) <= max(needed, left_without)
    assert Counter(after) == Counter({node: n for node, n in gets.items() if n}) + Counter({NOBODY: left_without})


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_named_does_not_matter(weights: dict[str, int], random: object) -> None:
    names = list(weights)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert assign({name: weights[name] for name in names}) == assign(weights)


@pytest.mark.parametrize(("count", "ideal"), [(2, 1 / 2), (3, 1 / 3), (8, 1 / 8)])
def test_a_node_that_goes_moves_only_what_it_had(count: int, ideal: float) -> None:
    before = assign(even(count))
    left = even(count)
    del left["node1"]
    after = assign(left, before)
    assert moved(before, after) == before.count("node1") <= BUCKETS * ideal + 1
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "node1")


def test_a_node_that_comes_takes_only_its_share_and_evenly() -> None:
    before = assign(even(3))
    after = assign(even(4), before)
    assert moved(before, after) == 64
    lost = Counter(old for old, new in zip(before, after, strict=True) if old != new)
    assert max(lost.values()) - min(lost.values()) <= 1


def test_a_weight_of_zero_drains_and_another_node_has_all() -> None:
    assert set(assign({"node1": 0, "node2": 1}, assign(even(2)))) == {"node2"}


def test_weights_far_apart_make_a_chain() -> None:
    """SafeKit's chained failover: the next one takes over only when the first is gone."""
    weights = {"node1": 4096, "node2": 64, "node3": 1}
    owners = assign(weights)
    assert owners.count("node1") >= 251
    assert assign({"node2": 64, "node3": 1}, owners).count("node2") >= 252


def test_a_map_from_scratch_is_as_it_always_was() -> None:
    """All nodes have to compute the same, whatever version of Python they run."""
    assert Counter(assign(even(3))) == {"node1": 86, "node2": 85, "node3": 85}
    assert buckets.score("node1", 0).hex() == "5ba48432ff0e641f"
