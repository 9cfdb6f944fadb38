"""The write intent log as a set."""

from __future__ import annotations

from safekit_resource_rfs.marks import (
    ATTRIBUTES,
    GONE,
    LOST,
    MAX_ZONES,
    SLACK_NS,
    WHOLE,
    Mark,
    Marks,
    Place,
)

D, E = b"directory", b"elsewhere"


def store(marks: Marks) -> tuple[Mark, ...]:
    lines = marks.begin_append()
    marks.end_append()
    return lines


def marked(*places: Place, now_ns: int = 100) -> Marks:
    marks = Marks()
    marks.touch(places, now_ns)
    store(marks)
    return marks


def test_a_place_may_be_modified_when_its_mark_is_durable() -> None:
    marks = Marks()
    place = Place(D, 7, 1)
    assert not marks.touch([place], 100)
    assert marks.begin_append() == (Mark(100, place),)
    assert not marks.touch([place], 101)
    assert marks.begin_append() == (), "one at a time, and not twice"
    marks.end_append()
    assert marks.touch([place], 102)


def test_marks_of_several_are_written_as_one() -> None:
    marks = Marks()
    marks.touch([Place(D, 7, 1)], 100)
    marks.begin_append()
    marks.touch([Place(D, 8, 1)], 100)
    marks.touch([Place(E)], 100)
    marks.end_append()
    assert len(marks.begin_append()) == 2


def test_what_was_just_created_needs_no_mark_until_the_next_checkpoint() -> None:
    marks = marked(Place(D))
    marks.cover(Place(E), Place(D, 9, WHOLE))
    assert marks.touch([Place(E), Place(D, 9, 5)], 101)
    marks.begin_checkpoint()
    assert not marks.touch([Place(E)], 102)


def test_a_checkpoint_clears_what_was_not_touched_since_it_began() -> None:
    marks = marked(Place(D, 7, 1), Place(D, 8, 1))
    marks.begin_checkpoint()
    assert marks.touch([Place(D, 8, 1)], 200), "its line is in the log"
    left = marks.clear()
    assert {mark.place for mark in left} == {Place(D, 0, ATTRIBUTES), Place(D, 8, 1)}
    assert not marks.touch([Place(D, 7, 1)], 201)


def test_an_aborted_checkpoint_clears_nothing() -> None:
    marks = marked(Place(D, 7, 1))
    marks.begin_checkpoint()
    marks.abort_checkpoint()
    assert marks.touch([Place(D, 7, 1)], 200)
    assert marks.directories()[0].files == {7: {1}}


def test_the_time_of_a_mark_is_the_earliest() -> None:
    marks = marked(Place(D))
    marks.begin_checkpoint()
    marks.touch([Place(D)], 999)
    assert marks.directories()[0].since_ns == 100


def test_a_clock_that_was_set_back_is_on_record_before_anything_is_modified() -> None:
    marks = marked(Place(D), now_ns=100 * SLACK_NS)
    assert not marks.touch([Place(D)], 50 * SLACK_NS)
    assert Mark(50 * SLACK_NS) in store(marks)
    assert marks.touch([Place(D)], 50 * SLACK_NS + 1)
    assert marks.directories()[0].since_ns == 50 * SLACK_NS


def test_too_many_zones_are_all_of_the_file() -> None:
    marks = marked(*[Place(D, 7, zone) for zone in range(MAX_ZONES + 1)])
    assert marks.directories()[0].files == {7: None}


def test_a_name_that_goes_makes_its_zones_the_whole_file() -> None:
    marks = marked(Place(D, 7, 1))
    assert not marks.touch([Place(D, 7, GONE)], 101)
    assert {mark.place for mark in store(marks)} == {Place(D, 7, WHOLE)}
    assert marks.touch([Place(D, 7, GONE)], 102)
    assert marks.touch([Place(D, 8, GONE)], 102), "nothing is marked of it"


def test_a_marked_file_that_loses_the_name_it_is_marked_by_makes_everything_differ() -> None:
    marks = marked(Place(D, 7, 1))
    assert not marks.touch([Place(D, 7, LOST)], 101)
    store(marks)
    assert marks.everything
    marks = marked(Place(D, 7, 1), Place(E, 7, WHOLE))
    marks.touch([Place(D, 7, LOST)], 101)
    store(marks)
    assert not marks.everything, "it can be found by the other name"


def test_attributes_of_a_file_with_marked_data_need_no_mark_and_of_others_mark_all_of_the_directory() -> None:
    marks = marked(Place(D, 7, 1))
    assert marks.touch([Place(D, 7, ATTRIBUTES)], 101)
    marks.begin_checkpoint()
    assert marks.touch([Place(D, 7, ATTRIBUTES)], 102), "its line is in the log still"
    assert not marks.touch([Place(D, 8, ATTRIBUTES)], 103)
    store(marks)
    (directory,) = marks.directories()
    assert directory.entries


def test_the_log_makes_the_same_set_again() -> None:
    marks = marked(Place(D, 7, 1), Place(D, 8, WHOLE), Place(E, 0, WHOLE))
    marks.begin_checkpoint()
    marks.touch([place for mark in marks.old.marks() if (place := mark.place)], 200)
    again = Marks(marks.clear())
    assert {each.handle: each for each in again.directories()}[D].files == {7: {1}, 8: None}
    assert {each.handle: each for each in again.directories()}[E].deep
