"""Who takes over has every acknowledged write, whatever was cut and in whatever order."""

from __future__ import annotations

import pytest

from safekit.engine.actions import AskWitness
from safekit.engine.events import Command
from safekit.engine.spec import ModuleSpec

from .kit import INTERVAL_S, LOST_AFTER_S, spec
from .mirrored import AVAILABLE, SAFE, WITNESSED, Mirrored
from .third import LEASE_S


@pytest.fixture(params=[WITNESSED, SAFE, AVAILABLE], ids=["witness", "safety", "availability"])
def any_mirror(request: pytest.FixtureRequest) -> Mirrored:
    made = Mirrored(request.param)
    made.start()
    assert made.write()
    return made


@pytest.fixture
def mirror() -> Mirrored:
    made = Mirrored()
    made.start()
    assert made.write()
    return made


def test_a_pair_has_everything_twice(any_mirror: Mirrored) -> None:
    assert any_mirror.paths["b"].writes == any_mirror.acknowledged
    assert any_mirror["b"].report.up_to_date


def test_a_lost_secondary_holds_writes_until_the_primary_stands_alone(any_mirror: Mirrored) -> None:
    any_mirror.lose_power("b")
    assert not any_mirror.write()
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror["a"].shown == ("ALONE", "Ready")
    assert any_mirror.write()


def test_a_secondary_that_comes_back_late_does_not_take_over_from_a_primary_that_died_meanwhile(
    any_mirror: Mirrored,
) -> None:
    any_mirror.lose_power("b")
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.come_back("b")
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror.active() - any_mirror.off == set()
    any_mirror.come_back("a")
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror.states()["a"] == ("PRIM", "Ready")
    assert any_mirror["b"].report.up_to_date
    assert any_mirror.paths["b"].writes >= any_mirror.acknowledged


def test_a_secondary_that_was_cut_off_is_refused_the_lease_of_a_primary_that_went_on_alone(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 2.0)
    assert mirror["a"].shown == ("ALONE", "Ready")
    assert mirror.write()
    mirror.lose_power("a")
    mirror.settle(4 * LEASE_S)
    assert not mirror["b"].m.active
    assert "had the lease" in mirror["b"].m.reason


def test_a_secondary_that_was_cut_off_takes_over_from_a_primary_that_died_at_once(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    assert mirror["b"].shown == ("ALONE", "Ready")
    assert mirror.write()


def test_when_only_the_data_paths_lose_each_other_the_secondary_is_out_of_date_first(any_mirror: Mirrored) -> None:
    any_mirror.is_linked = False
    assert not any_mirror.write()
    any_mirror.settle(1.0)
    assert not any_mirror["b"].report.up_to_date
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.settle(3 * LEASE_S)
    assert not any_mirror["b"].m.active
    any_mirror.come_back("a")
    any_mirror.is_linked = True
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror["b"].report.up_to_date


def test_a_primary_that_dies_while_it_wants_to_stand_alone_is_up_to_date_when_it_comes_back(mirror: Mirrored) -> None:
    mirror.is_linked = False
    while not mirror["a"].m.parting:
        mirror.exchange(hosts=False)
        mirror._obey("a")
    mirror.deliver(mirror.beat("a"), to="b")
    mirror.lose_power("a")
    mirror.settle(1.0)
    mirror.come_back("a")
    mirror.is_linked = True
    mirror.settle(3 * LEASE_S)
    assert mirror.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}


def test_after_a_swap_the_new_primary_acknowledges_nothing_before_it_is_heard_by_the_other(
    any_mirror: Mirrored,
) -> None:
    any_mirror.is_linked = False
    any_mirror.command("a", Command.SWAP)
    any_mirror.settle(0.5)
    any_mirror.is_linked = True
    any_mirror.settle(3.0)
    assert any_mirror.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}
    assert any_mirror.write()
    assert any_mirror.paths["a"].writes == any_mirror.acknowledged


def test_a_primary_that_is_about_to_stand_alone_is_not_swapped(any_mirror: Mirrored) -> None:
    any_mirror.is_linked = False
    while not any_mirror["a"].m.parting:
        any_mirror.exchange(hosts=False)
        any_mirror._obey("a")
    any_mirror.command("a", Command.SWAP)
    any_mirror.is_linked = True
    any_mirror.settle(3 * LEASE_S)
    assert any_mirror.states() == {"a": ("PRIM", "Ready"), "b": ("SECOND", "Ready")}
    assert any_mirror["b"].report.up_to_date


def test_the_witness_is_told_before_a_primary_stands_alone_from_a_silent_peer(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.third.cut.add("a")
    mirror.settle(LOST_AFTER_S + 1.0)
    assert not mirror.write()
    mirror.third.cut.discard("a")
    mirror.settle(0.2 * LEASE_S)
    assert mirror.write()
    assert mirror.third.epoch == mirror["a"].m.alone_epoch


def test_a_lease_is_asked_for_with_the_greatest_epoch_that_was_heard(mirror: Mirrored) -> None:
    known = mirror["b"].m.epoch
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    asked = [action for action in mirror["b"].all if isinstance(action, AskWitness) and action.call == "acquire"]
    assert asked[0].after == known


def test_power_is_lost_on_both_and_the_one_that_stood_alone_is_primary_again(any_mirror: Mirrored) -> None:
    any_mirror.lose_power("b")
    any_mirror.settle(LOST_AFTER_S + 2.0)
    assert any_mirror.write()
    any_mirror.lose_power("a")
    any_mirror.settle(1.0)
    any_mirror.come_back("b")
    any_mirror.settle(0.5)
    any_mirror.come_back("a")
    any_mirror.settle(3 * LEASE_S + INTERVAL_S)
    assert any_mirror.states()["a"] == ("PRIM", "Ready")


def test_a_node_that_lacks_writes_is_primary_by_the_operators_word(mirror: Mirrored) -> None:
    mirror.parted.add("b")
    mirror.settle(LOST_AFTER_S + 2.0)
    assert mirror.write()
    mirror.lose_power("a")
    mirror.settle(3 * LEASE_S)
    mirror.forced = True
    mirror.command("b", Command.PRIM, force=True)
    mirror.settle(1.0)
    assert mirror["b"].shown == ("ALONE", "Ready")
    mirror.parted.discard("b")
    mirror.come_back("a")
    mirror.settle(3 * LEASE_S)
    assert mirror.states() == {"a": ("SECOND", "Ready"), "b": ("PRIM", "Ready")}


@pytest.mark.parametrize("module", [SAFE, spec()], ids=["data", "no data"])
def test_the_command_that_a_waiting_node_names_is_taken(module: ModuleSpec) -> None:
    mirror = Mirrored(module)
    mirror.start()
    mirror.lose_power("a")
    mirror.settle(LOST_AFTER_S + 2.0)
    assert mirror["b"].shown == ("WAIT", "NotReady")
    force = " --force" if module.has_data else ""
    assert mirror["b"].m.reason.endswith(f"if a is off: `safekit module prim {module.name}{force}`")
    mirror["b"].command(Command.PRIM, force=module.has_data)
    mirror.settle(2.0)
    assert mirror["b"].shown == ("ALONE", "Ready")
