"""A sync that is expected is begun with the write; it answers for what was there when it began, for nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs.disks import Disks
from safekit_resource_rfs.expecting import MAX_HABITS, Expecting
from safekit_resource_rfs.tree import Node

from .mounts import Served, served


class Application:
    """A request that waits for disks."""

    def __init__(self) -> None:
        self.is_interruptible = False
        self.answers: list[int] = []

    def hold(self) -> None:
        """It is told later."""

    def reply(self) -> None:
        self.answers.append(0)

    def fail(self, number: int) -> None:
        self.answers.append(number)


def answered(disks: Disks) -> Any:
    application: Any = Application()
    disks.answer(application)
    return application.answers


def a_node(number: int = 2) -> Node:
    return Node(number, number, 0)


def steady(expecting: Expecting, node: Node, writes: int = 1) -> None:
    """Written so many times before each of three syncs; the first makes it known."""
    for _ in range(3):
        for _ in range(writes):
            assert not expecting.writes(node)
        assert expecting.asked(node) is None


def test_an_answer_waits_for_both_disks_whenever_it_is_asked_for() -> None:
    disks = Disks(2)
    answers = answered(disks)
    disks.heard()
    assert answers == []
    disks.heard()
    assert answers == [0]
    assert answered(disks) == [0]


def test_an_error_of_either_is_the_answer() -> None:
    disks = Disks(2)
    disks.heard(5)
    assert disks.has_failed
    disks.heard()
    assert answered(disks) == [5]


@pytest.mark.parametrize("writes", [1, 3])
def test_it_is_expected_after_as_many_writes_as_usual(writes: int) -> None:
    expecting, node, disks = Expecting(), a_node(), Disks(2)
    steady(expecting, node, writes)
    assert [expecting.writes(node) for _ in range(writes)] == [False] * (writes - 1) + [True]
    expecting.began(node, disks)
    assert expecting.asked(node) is disks
    assert expecting.asked(node) is None


def test_a_write_after_it_began_is_not_in_it() -> None:
    expecting, node = Expecting(), a_node()
    steady(expecting, node)
    assert expecting.writes(node)
    expecting.began(node, Disks(2))
    assert not expecting.writes(node)
    assert expecting.asked(node) is None
    assert not expecting.writes(node)


def test_neither_is_another_change() -> None:
    expecting, node = Expecting(), a_node()
    steady(expecting, node)
    assert expecting.writes(node)
    expecting.began(node, Disks(2))
    expecting.changes(node)
    assert expecting.asked(node) is None


def test_what_failed_before_it_was_asked_for_is_done_again() -> None:
    expecting, node, disks = Expecting(), a_node(), Disks(2)
    steady(expecting, node)
    assert expecting.writes(node)
    expecting.began(node, disks)
    disks.heard(28)
    assert expecting.asked(node) is None


def test_it_looks_at_the_files_that_were_synced_last() -> None:
    expecting, nodes = Expecting(), [a_node(number) for number in range(MAX_HABITS + 1)]
    for node in nodes:
        steady(expecting, node)
    assert [expecting.writes(node) for node in nodes] == [False] + [True] * MAX_HABITS


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def test_each_sync_of_a_program_is_one_of_the_disks(mounted: Served) -> None:
    fd = os.open(mounted.directory / "f", os.O_CREAT | os.O_RDWR)

    def write(count: int = 1) -> int:
        for number in range(count):
            os.pwrite(fd, os.urandom(4096), number * 4096)
        return int(mounted.tell("count_synced"))

    def sync() -> int:
        os.fdatasync(fd)
        return int(mounted.tell("count_synced"))

    for number in range(3):
        assert (write(), sync()) == (number, number + 1)
    assert (write(), sync()) == (4, 4)  # begun with the write
    assert (write(2), sync()) == (5, 6)
    assert (write(), sync()) == (6, 7)
    assert (write(), sync()) == (7, 8)
    assert write() == 9
    os.ftruncate(fd, 100)
    assert sync() == 10
    os.close(fd)
    assert mounted.differences() == []
