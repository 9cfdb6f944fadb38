"""Times of the calendar: what they are, and that a clock which is set does no harm."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_resource_rfs import RfsConfig
from safekit_resource_rfs.schedule import Schedule
from safekit_resource_rfs.timetable import Alarm, Opening, Times

from safekit_sdk import ConfigError

HOUR_S = 3600.0
DAILY = Times("30 2 * * *")


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone().timestamp()


NOON = at("2026-11-27T12:00")
NEXT = at("2026-11-28T02:30")


def test_the_next_time_is_later_in_local_time() -> None:
    assert DAILY.after(NOON) == NEXT
    assert DAILY.after(NEXT) == at("2026-11-29T02:30")
    assert Times("0 3 * * sat,sun").after(NOON) == at("2026-11-28T03:00")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("* * * *", "minute, hour, day, month and weekday"),
        ("0 3 * * 0", "by name"),
        ("0 3 1 * sun", "not both"),
        ("0 3 30 2 *", "never come"),
        ("61 * * * *", "61"),
        ("nightly * * * *", "nightly"),
        ("* " * 150, "200"),
    ],
)
@pytest.mark.parametrize("key", ["verify_at", "sync_at"])
def test_what_names_no_times_is_refused(key: str, text: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RfsConfig.model_validate({"directory": "/srv/data", key: text})


def test_an_alarm_is_due_once_at_each_time() -> None:
    alarm = Alarm(DAILY, NOON)
    assert [alarm.is_due(now) for now in (NOON, NEXT - 1, NEXT + 0.3, NEXT + 1, NEXT + 24 * HOUR_S)] == [
        *(False, False, True, False, True)
    ]


def test_an_alarm_is_due_once_where_the_clock_jumps_over_several() -> None:
    alarm = Alarm(DAILY, NOON)
    later = NOON + 400 * 24 * HOUR_S
    assert (alarm.is_due(later), alarm.is_due(later + 1)) == (True, False)


def test_an_alarm_is_not_late_when_the_clock_is_set_back() -> None:
    alarm = Alarm(DAILY, NOON)
    years_ago = at("2020-01-01T00:00")
    assert [alarm.is_due(years_ago), alarm.is_due(years_ago + 3 * HOUR_S)] == [False, True]


def test_without_times_it_is_always_open() -> None:
    opening = Opening(None)
    opening.paired()
    opening.parted(NOON)
    opening.shut(NOON)
    assert (opening.waits_until_s, opening.after(NOON)) == (None, None)


def test_a_lost_pair_waits_for_the_next_time_and_what_began_is_not_held_up_again() -> None:
    opening = Opening(DAILY)
    opening.parted(NOON)
    assert not opening.look(NEXT)
    opening.paired()
    opening.parted(NOON)
    opening.parted(NOON + 1)
    assert (opening.waits_until_s, opening.after(NOON)) == (NEXT, NEXT)
    assert (opening.look(NEXT - 1), opening.look(NEXT)) == (False, True)
    opening.parted(NEXT + 1)
    assert (opening.waits_until_s, opening.look(NEXT + 2)) == (None, False)


def test_an_operator_or_a_pair_opens_it() -> None:
    opening = Opening(DAILY)
    for opens in (opening.open, opening.paired):
        opening.shut(NOON)
        opens()
        assert opening.waits_until_s is None


def schedule(*done: Any, **settings: Any) -> Schedule:
    verify, changed = done
    return Schedule(RfsConfig.model_validate({"directory": "/srv/data", **settings}), verify, changed)


async def test_what_is_due_is_done_and_a_refusal_does_no_harm() -> None:
    done = list[str]()

    def verify() -> None:
        done.append("verify")
        if len(done) > 1:
            raise ConfigError("not now")

    made = schedule(verify, lambda: done.append("told"), verify_at="* * * * *", sync_at="* * * * *")
    now_s = datetime.now().astimezone().timestamp()
    for minutes in (0, 1.1, 2.2):
        made.look(now_s + 60 * minutes)
    made.opening.shut(now_s + 140)
    made.look(now_s + 200)
    made.close()
    assert done == ["verify", "verify", "told", "verify"]


async def test_without_a_calendar_nothing_is_done() -> None:
    made = schedule(pytest.fail, pytest.fail)
    made.look(NOON)
    made.close()
