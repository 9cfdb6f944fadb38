"""rise and fall, against a model that reads the whole history each time."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit_sdk import Health, Verdict
from safekit_sdk.hysteresis import Hysteresis, Standing, judge

UP, DOWN, UNKNOWN, INIT = Health.UP, Health.DOWN, Health.UNKNOWN, Health.INIT
histories = st.lists(st.sampled_from([UP, DOWN, UNKNOWN, INIT]), max_size=40)
few = st.integers(min_value=1, max_value=4)


def at_the_end(history: list[Health], of: Health) -> int:
    return len(list(takewhile(lambda health: health is of, reversed(history))))


def healths_by_the_model(history: list[Health], rise: int, fall: int) -> list[Health]:
    healths, health, since = [], INIT, 0
    for end, answer in enumerate(history, start=1):
        recent = history[since:end]
        heard = [other for other in recent if other is not UNKNOWN]
        if answer is INIT:
            health, since = INIT, end
        elif answer is UNKNOWN and at_the_end(recent, UNKNOWN) >= fall:
            health, since = UNKNOWN, end
        elif answer is not UNKNOWN and at_the_end(heard, answer) >= (rise if answer is UP else fall):
            health = answer
        healths.append(health)
    return healths


@given(histories, few, few)
def test_the_health_is_what_the_whole_history_says(history: list[Health], rise: int, fall: int) -> None:
    hysteresis, healths = Hysteresis(rise, fall), []
    for answer in history:
        hysteresis.feed(Verdict(answer))
        healths.append(hysteresis.standing.health)
    assert healths == healths_by_the_model(history, rise, fall)


@given(histories, few, few)
def test_only_a_change_of_health_is_said_and_by_the_verdict_that_made_it(
    history: list[Health], rise: int, fall: int
) -> None:
    hysteresis = Hysteresis(rise, fall)
    for number, answer in enumerate(history):
        before = hysteresis.standing.health
        verdict = Verdict(answer, f"answer {number}")
        said = hysteresis.feed(verdict)
        assert (said is None) == (hysteresis.standing.health is before)
        assert said is None or (said is verdict and said.health is hysteresis.standing.health)


@given(histories, few, few)
def test_the_memory_is_bounded(history: list[Health], rise: int, fall: int) -> None:
    standing = Standing()
    for answer in history:
        standing = judge(standing, answer, rise, fall)
        assert standing.good <= rise
        assert max(standing.bad, standing.unknown) <= fall
        assert not (standing.good and standing.bad)


def healths(answers: list[Health], rise: int = 1, fall: int = 1) -> list[Health]:
    hysteresis = Hysteresis(rise, fall)
    said = []
    for answer in answers:
        hysteresis.feed(Verdict(answer))
        said.append(hysteresis.standing.health)
    return said


def test_it_is_init_until_a_series_is_complete() -> None:
    assert healths([UP, UP, UP], rise=3) == [INIT, INIT, UP]
    assert healths([DOWN, DOWN], fall=2) == [INIT, DOWN]


def test_one_unknown_is_never_down_and_keeps_the_last_health() -> None:
    assert healths([UP, UNKNOWN, UP], fall=2) == [UP, UP, UP]
    assert healths([DOWN, DOWN, UNKNOWN], fall=2) == [INIT, DOWN, DOWN]


def test_unknowns_alone_become_unknown_and_never_down() -> None:
    assert healths([UP, UNKNOWN, UNKNOWN, UNKNOWN], fall=2) == [UP, UP, UNKNOWN, UNKNOWN]
    assert healths([UNKNOWN], fall=1) == [UNKNOWN]


def test_an_unknown_between_two_downs_hides_none_of_them() -> None:
    assert healths([UP, DOWN, UNKNOWN, DOWN], fall=2) == [UP, UP, UP, DOWN]


def test_after_unknown_a_series_begins_anew() -> None:
    assert healths([UP, UP, UNKNOWN, UNKNOWN, UP, UP], rise=2, fall=2) == [INIT, UP, UP, UNKNOWN, UNKNOWN, UP]


def test_a_good_answer_ends_a_series_of_bad_ones() -> None:
    assert healths([UP, DOWN, UP, DOWN, DOWN], fall=2) == [UP, UP, UP, UP, DOWN]


def test_init_takes_effect_at_once() -> None:
    assert healths([UP, INIT, UP], fall=3) == [UP, INIT, UP]


@pytest.mark.parametrize(("rise", "fall"), [(0, 1), (1, 0), (-1, 1)])
def test_a_series_of_no_answers_is_refused(rise: int, fall: int) -> None:
    with pytest.raises(ValueError, match="from 1 on"):
        Hysteresis(rise, fall)
