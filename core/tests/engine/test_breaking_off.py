"""A run that waits for a write which nobody acknowledges does not wait until its bound."""

from __future__ import annotations

import pytest

from safekit.engine.actions import FenceSelf, KillHost
from safekit.engine.data import HOLDING
from safekit.engine.events import Command, ValueSet
from safekit.engine.spec import ModuleSpec

from .kit import ALONE, INTERVAL_S, LOST_AFTER_S, MODULE, PRIM, READY, SECOND, Bench, spec
from .mirrored import AVAILABLE, SAFE, WITNESSED, Hosted
from .third import LEASE_S

FENCING = spec(has_data=True, fences=True)
EVERY = [WITNESSED, SAFE, AVAILABLE, FENCING]
NAMES = ["witness", "safety", "availability", "fencing"]


@pytest.fixture(params=EVERY, ids=NAMES)
def leaving(request: pytest.FixtureRequest) -> Hosted:
    """A mirror whose primary is asked to hand over, and whose application does not stop."""
    made = Hosted(request.param)
    made.start()
    assert made.write()
    made.slow.add("a")
    made.command("a", Command.SWAP)
    made.settle(1.0)
    assert waits_to_hand_over(made["a"])
    return made


def waits_to_hand_over(bench: Bench) -> bool:
    run = bench.m.run
    return run is not None and run.row.name == "swap-out" and not run.killed


def kills(bench: Bench) -> list[KillHost]:
    return [action for action in bench.all if isinstance(action, KillHost)]


def test_a_swap_that_waits_is_broken_off_when_the_secondary_is_lost_and_the_primary_goes_on(leaving: Hosted) -> None:
    leaving.lose_power("b")
    leaving.settle(LOST_AFTER_S + 2 * INTERVAL_S)
    assert [kill.reason for kill in kills(leaving["a"])] == ["b is lost, and nothing can be acknowledged"]
    leaving.slow.discard("a")
    leaving.settle(3 * LEASE_S)
    assert leaving["a"].shown == (ALONE, READY)
    assert leaving["a"].m.loops == (), "it is not the module's fault"
    assert leaving.write()


def test_a_swap_that_waits_goes_on_while_the_secondary_is_there(leaving: Hosted) -> None:
    leaving.settle(LOST_AFTER_S + 2.0)
    assert waits_to_hand_over(leaving["a"])
    leaving.slow.discard("a")
    leaving.settle(3.0)
    assert leaving.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
    assert not kills(leaving["a"])


def test_a_swap_that_waits_is_broken_off_when_the_secondary_takes_no_writes_any_more(leaving: Hosted) -> None:
    """Both nodes hear each other: it is the data's link that is cut, or the other one's host that died."""
    leaving.is_linked = False
    leaving["a"].tell(ValueSet(MODULE, HOLDING, "up", by="plugin"))
    assert len(kills(leaving["a"])) == 1
    leaving.slow.discard("a")
    leaving.is_linked = True
    leaving.settle(3 * LEASE_S)
    assert {shown for _, shown in leaving.states().values()} == {READY}
    assert {leaving["a"].m.state, leaving["b"].m.state} == {PRIM, SECOND}
    assert leaving.write()


def test_a_swap_that_is_broken_off_in_a_partition_leaves_one_primary() -> None:
    """The secondary is cut off, not dead: the lease says who runs, before and after."""
    mirror = Hosted(WITNESSED)
    mirror.start()
    assert mirror.write()
    mirror.slow.add("a")
    mirror.command("a", Command.SWAP)
    mirror.settle(1.0)
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 1.0)
    mirror.slow.discard("a")
    mirror.settle(4 * LEASE_S)
    assert len(mirror.active()) == 1
    [runs] = mirror.active()
    assert mirror[runs].shown == (ALONE, READY)
    mirror.parted.discard("b")
    mirror.settle(3 * LEASE_S)
    assert {mirror["a"].m.state, mirror["b"].m.state} == {PRIM, SECOND}
    assert mirror.most_active == 1


@pytest.mark.parametrize("module", [spec(), SAFE], ids=["no data", "data"])
def test_what_hands_over_is_killed_once_and_only_where_it_replicates(module: ModuleSpec) -> None:
    mirror = Hosted(module)
    mirror.start()
    mirror.slow.add("a")
    mirror.command("a", Command.SWAP)
    mirror.lose_power("b")
    mirror.settle(LOST_AFTER_S + 3.0)
    assert len(kills(mirror["a"])) == int(module.has_data)


def test_a_secondary_that_fell_behind_while_a_swap_waited_does_not_take_over(leaving: Hosted) -> None:
    leaving.is_linked = False
    leaving.paths["b"].is_up_to_date = False
    leaving.settle(0.5)
    leaving["a"].tell(ValueSet(MODULE, HOLDING, "up", by="plugin"))
    assert len(kills(leaving["a"])) == 1
    leaving.slow.discard("a")
    leaving.settle(4 * LEASE_S)
    assert leaving["a"].m.state in (ALONE, PRIM)
    leaving.is_linked = True
    leaving.settle(4 * LEASE_S)
    assert leaving.write()
    assert leaving.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_the_loss_of_both_one_after_the_other_ends_with_a_primary(leaving: Hosted) -> None:
    leaving.lose_power("b")
    leaving.settle(LOST_AFTER_S + 2 * INTERVAL_S)
    assert kills(leaving["a"])
    leaving.lose_power("a")
    leaving.settle(1.0)
    leaving.slow.discard("a")
    leaving.come_back("b")
    leaving.settle(4 * LEASE_S)
    leaving.come_back("a")
    leaving.settle(6 * LEASE_S)
    assert leaving.write()


def test_a_cut_that_is_over_soon_leaves_a_primary(leaving: Hosted) -> None:
    leaving.parted.add("b")
    leaving.settle(LOST_AFTER_S + 2 * INTERVAL_S)
    leaving.parted.discard("b")
    leaving.settle(0.5)
    leaving.slow.discard("a")
    leaving.settle(6 * LEASE_S)
    assert leaving.write()


def test_who_hands_over_and_is_cut_from_everybody_comes_back_as_a_part_of_the_mirror(leaving: Hosted) -> None:
    leaving.parted.add("a")
    leaving.settle(LOST_AFTER_S + 1.0)
    for _ in range(int(4 * LEASE_S * 10)):
        if any(isinstance(action, FenceSelf) for action in leaving["a"].all):
            leaving.lose_power("a")
        if "a" in leaving.off:
            leaving.settle(4 * LEASE_S)
            leaving.slow.discard("a")
            leaving.come_back("a")
            break
        leaving.settle(0.1)
    leaving.slow.discard("a")
    leaving.settle(4 * LEASE_S)
    leaving.parted.discard("a")
    leaving.settle(6 * LEASE_S)
    assert leaving.write()
    assert {leaving["a"].m.state, leaving["b"].m.state} == {PRIM, SECOND}
