"""A module's data are no better than the worst of its replicated directories, and the epoch is said first."""

from __future__ import annotations

import uuid
from dataclasses import replace

from safekit_resource_rfs.standing import (
    DEGRADED,
    EPOCH,
    HOLDING,
    LINK,
    PUBLISHED,
    UPTODATE,
    VERIFIED,
    Seat,
    Standing,
    say_again,
)

GOOD = Standing(is_up_to_date=True, epoch=4, is_degraded=False, is_holding=False, has_link=True)


def a_module() -> str:
    return uuid.uuid4().hex


def said_by(*standings: Standing) -> dict[str, str]:
    module, values = a_module(), dict[str, str]()
    seats = [Seat("node1", module, f"{number}") for number, _ in enumerate(standings)]
    for seat, standing in zip(seats, standings, strict=True):
        seat.say(standing, values.__setitem__)
    return values


def test_one_directory_speaks_for_itself() -> None:
    assert said_by(GOOD) == {EPOCH: "4", UPTODATE: "up", DEGRADED: "down", HOLDING: "down", LINK: "up"}
    assert said_by(Standing()) == {EPOCH: "0", UPTODATE: "down", DEGRADED: "up", HOLDING: "down", LINK: "down"}


def test_the_worst_of_several_is_said() -> None:
    values = said_by(GOOD, Standing(is_up_to_date=False, epoch=3, is_holding=True))
    assert values == {EPOCH: "3", UPTODATE: "down", DEGRADED: "up", HOLDING: "up", LINK: "down"}


def test_directories_of_several_epochs_are_not_up_to_date() -> None:
    assert said_by(GOOD, Standing(is_up_to_date=True, epoch=3))[UPTODATE] == "down"


def test_all_directories_have_to_be_compared_and_one_that_differs_is_enough() -> None:
    equal, different = replace(GOOD, is_verified=True), replace(GOOD, is_verified=False)
    assert VERIFIED not in said_by(equal, GOOD)
    assert said_by(equal, equal)[VERIFIED] == "up"
    assert said_by(equal, GOOD, different)[VERIFIED] == "down"


def test_a_directory_of_which_nothing_is_known_holds_the_module_back() -> None:
    module, values = a_module(), dict[str, str]()
    first, second = Seat("node1", module, "first"), Seat("node1", module, "second")
    first.say(GOOD, values.__setitem__)
    assert values[UPTODATE] == "down"
    second.say(GOOD, values.__setitem__)
    assert values[UPTODATE] == "up"


def test_the_epoch_goes_first_and_what_is_known_is_not_repeated_unless_asked_for() -> None:
    module, order = a_module(), list[str]()
    seat = Seat("node1", module, "only")
    for _ in range(2):
        seat.say(GOOD, lambda name, _: order.append(name))
    known = [name for name in PUBLISHED if name != VERIFIED]
    assert (order[0], sorted(order)) == (EPOCH, sorted(known))
    say_again("node1", module)
    seat.say(GOOD, lambda name, _: order.append(name))
    assert len(order) == 2 * len(known)


def test_one_that_is_made_while_others_speak_changes_nothing_until_it_speaks() -> None:
    module, values = a_module(), dict[str, str]()
    first = Seat("node1", module, "first")
    first.say(GOOD, values.__setitem__)
    second, again = Seat("node1", module, "second"), Seat("node1", module, "first")
    first.say(GOOD, values.__setitem__)
    assert values[UPTODATE] == "up"
    second.say(Standing(), values.__setitem__)
    assert values[UPTODATE] == "down"
    second.say(GOOD, values.__setitem__)
    again.say(replace(GOOD, is_up_to_date=False), values.__setitem__)
    assert values[UPTODATE] == "down"
