"""Seeded histories of two nodes with everything going wrong that can: processes killed, power lost with what was not
synced, connections cut and silent, roles swapped and forced, at any step and above all at those that matter.

A seed that fails prints its history; `run_seed(seed)` plays it again."""

from __future__ import annotations

import pytest
from safekit_resource_rfs.sender import State

from .faults_model import run_seed
from .history_model import BrokenPromiseError
from .machine_model import Variant
from .mutants_model import VARIANTS, ConfirmsUnsaved, IgnoresItsDisk, KeepsNothing, TrustsItsCache

CHUNK = 250
MAX_SEEDS = 400
FIRST = {"marks late": 1150}
"""Where the search begins for a variant that few seeds find."""
SHORT, MANY = 1000, 6000
"""Within which each broken variant has to be found."""
REFUSING = 200
FAILING_SYNCS = 200
SPLITTING = 100
FOUND = (
    56,
    105,
    137,
    224,
    290,
    347,
    350,
    468,
    480,
    1181,
    1301,
    1427,
    1449,
    1560,
    1960,
    2153,
    2537,
    2872,
    2982,
    3391,
    3488,
    3622,
    3651,
    4384,
    4440,
    5334,
)
"""Seeds that found something once."""


@pytest.mark.parametrize("first", range(0, SHORT, CHUNK))
def test_nothing_acknowledged_is_lost_and_both_nodes_end_equal(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run_seed(seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(SHORT, MANY, CHUNK))
def test_many_more_seeds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run_seed(seed)


def test_what_failed_once_does_not_again() -> None:
    for seed in FOUND:
        run_seed(seed)


def test_a_seed_is_played_the_same_way_again() -> None:
    assert run_seed(7).notes == run_seed(7).notes


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_a_broken_variant_is_found(variant: Variant) -> None:
    first = FIRST.get(variant.name, 0)
    with pytest.raises(BrokenPromiseError, match=variant.name):
        for seed in range(first, first + MAX_SEEDS):
            run_seed(seed, variant)


def test_a_secondary_whose_disk_is_full_at_times_confirms_nothing_that_it_could_not_record() -> None:
    for seed in range(REFUSING):
        run_seed(seed, refuses=True)
    with pytest.raises(BrokenPromiseError):
        for seed in range(MAX_SEEDS):
            run_seed(seed, Variant("confirms unsaved", receiver=ConfirmsUnsaved), refuses=True)


def test_a_disk_that_failed_to_sync_is_not_taken_for_one_that_has_everything() -> None:
    for seed in range(FAILING_SYNCS):
        run_seed(seed, fails_to_sync=True)


@pytest.mark.parametrize(
    ("variant", "first"),
    [
        (Variant("trusts its cache", receiver=TrustsItsCache), 0),
        (Variant("ignores its disk", sender=IgnoresItsDisk), 1370),
    ],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Variant) else str(value),
)
def test_one_that_makes_light_of_a_failed_sync_is_found(variant: Variant, first: int) -> None:
    """`first`: of the seeds that are tried; the second one is found by few."""
    with pytest.raises(BrokenPromiseError):
        for seed in range(first, first + MAX_SEEDS):
            run_seed(seed, variant, fails_to_sync=True)


def test_what_a_secondary_has_of_its_own_is_kept_aside_by_itself() -> None:
    for seed in range(SPLITTING):
        run_seed(seed, Variant("a primary that keeps nothing", sender=KeepsNothing))


def test_a_calm_history_pairs_both_nodes_once() -> None:
    cluster = run_seed(3)
    primary = cluster.primary
    assert primary is not None and primary.process is not None
    assert primary.process.core.state is State.PAIRED  # type: ignore[union-attr]
