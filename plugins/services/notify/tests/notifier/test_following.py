from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from notifier.two_nodes import WALL_S, Nodes, Notifier, notifier

QUIET_S, LONGEST_S, STAND_IN_S = 5.0, 30.0, 15.0


@pytest.fixture
def nodes() -> Nodes:
    found = Nodes()
    found.decide("node1", "what nobody followed", "alarm")
    return found


def deliver(one: Notifier) -> None:
    for queued in one.store.queued():
        one.store.sent(queued)


def test_what_two_nodes_decide_about_one_failure_is_one_message_with_its_why(nodes: Nodes, tmp_path: Path) -> None:
    nodes.whys = {"change": {"decision": "node1 was lost", "rule": "takeover", "facts": {"silent": "1.1 s"}}}
    with notifier(nodes, "node1", tmp_path) as one:
        one.follower.turn(WALL_S)
        nodes.decide("node2", "node1 was lost: taking over", "warning", before="SECOND/Ready", after="ALONE/Transient")
        one.follower.turn(WALL_S + 1)
        nodes.decide("node1", "stopping", before="PRIM/Ready", after="WAIT/Transient", wall_s=WALL_S + 1)
        one.follower.turn(WALL_S + 4)
        assert one.titles() == []
        one.follower.turn(WALL_S + 4 + QUIET_S)
        (queued,) = one.store.queued()
    assert queued.message.title == "[warning] lab: web on node2: node1 was lost: taking over"
    for line in ("silent: 1.1 s", "node2 web: node1 was lost", "node1 web: stopping", "safekit why web --on node2"):
        assert line in queued.message.text
    assert "nobody followed" not in queued.message.text


def test_what_is_only_information_or_of_another_module_is_told_to_who_asked_for_it(
    nodes: Nodes, tmp_path: Path
) -> None:
    url = "json://127.0.0.1:9/"
    given = [
        {"name": "all", "url": url, "severity": "info"},
        {"name": "shop", "url": url, "modules": ["shop"]},
        {"name": "alarms", "url": url, "severity": "alarm"},
    ]
    with notifier(nodes, "node1", tmp_path, destinations=given) as one:
        one.follower.turn(WALL_S)
        nodes.decide("node1", "it is secondary now")
        one.follower.turn(WALL_S + 1)
        one.follower.turn(WALL_S + 7)
        nodes.decide("node1", "web fails", "warning")
        nodes.decide("node2", "shop fails", "warning", module="shop", wall_s=WALL_S + 1)
        one.follower.turn(WALL_S + 20)
        one.follower.turn(WALL_S + 26)
        told = [(queued.destination, queued.message.module) for queued in one.store.queued()]
    assert told == [("all", "web"), ("all", "web"), ("shop", "shop")]


def test_decisions_that_never_end_are_told_within_the_longest_time(nodes: Nodes, tmp_path: Path) -> None:
    with notifier(nodes, "node1", tmp_path) as one:
        one.follower.turn(WALL_S)
        for second in range(1, int(LONGEST_S) + 3):
            nodes.decide("node1", "once more", "warning")
            one.follower.turn(WALL_S + second)
        assert len(one.titles()) == 1


def test_one_node_tells_and_the_others_learn_it(nodes: Nodes, tmp_path: Path) -> None:
    with ExitStack() as both:
        one, two = (both.enter_context(notifier(nodes, node, tmp_path)) for node in ("node1", "node2"))
        for each in (one, two):
            each.follower.turn(WALL_S)
        nodes.decide("node2", "it fails", "alarm")
        for at_s in (1.0, 7.0):
            one.follower.turn(WALL_S + at_s)
            two.follower.turn(WALL_S + at_s)
        assert (len(one.titles()), two.titles()) == (1, [])
        two.follower.turn(WALL_S + 7 + 2 * STAND_IN_S)
        assert two.titles() == []
        deliver(one)
        one.follower.turn(WALL_S + 50)
        two.follower.turn(WALL_S + 51)
        assert (two.titles(), two.store.events()) == ([], [])


def test_a_node_stands_in_for_one_that_does_not_tell(nodes: Nodes, tmp_path: Path) -> None:
    with notifier(nodes, "node2", tmp_path) as two:
        two.follower.turn(WALL_S)
        nodes.decide("node1", "it fails", "alarm")
        two.follower.turn(WALL_S + 1)
        two.follower.turn(WALL_S + 7)
        assert two.titles() == []
        two.follower.turn(WALL_S + 7 + STAND_IN_S)
        assert len(two.titles()) == 1


def test_a_node_that_dies_before_it_told_is_stood_in_for_at_once(nodes: Nodes, tmp_path: Path) -> None:
    with ExitStack() as both:
        one, two = (both.enter_context(notifier(nodes, node, tmp_path)) for node in ("node1", "node2"))
        for at_s in (0.0, 1.0, 7.0):
            if at_s == 1.0:
                nodes.decide("node2", "it fails", "alarm")
            one.follower.turn(WALL_S + at_s)
            two.follower.turn(WALL_S + at_s)
        assert len(one.titles()) == 1
        nodes.lost.add("node1")
        two.follower.turn(WALL_S + 8)
        assert len(two.titles()) == 1


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_forgotten(nodes: Nodes, tmp_path: Path) -> None:
    with notifier(nodes, "node1", tmp_path) as one:
        one.follower.turn(WALL_S)
        nodes.decide("node1", "the first", "warning")
        one.follower.turn(WALL_S + 1)
        one.follower.turn(WALL_S + 7)
        deliver(one)
        nodes.decide("node1", "the second", "warning")
        one.follower.turn(WALL_S + 20)
    nodes.decide("node1", "while it was away", "alarm")
    with notifier(nodes, "node1", tmp_path) as again:
        again.follower.turn(WALL_S + 60)
        again.follower.turn(WALL_S + 70)
        assert again.titles() == [
            "[warning] lab: web on node1: the second",
            "[alarm] lab: web on node1: while it was away",
        ]


def test_old_news_is_no_news_and_a_journal_that_began_anew_is_read(nodes: Nodes, tmp_path: Path) -> None:
    with notifier(nodes, "node1", tmp_path) as one:
        one.follower.turn(WALL_S)
        nodes.decide("node1", "long ago", "alarm")
        one.follower.turn(WALL_S + 7200)
        assert one.store.events() == []
        nodes.entries["node1"].clear()
        nodes.incarnation += 1
        one.follower.turn(WALL_S + 7201)
        nodes.decide("node1", "on a new disk", "alarm", wall_s=WALL_S + 7202)
        one.follower.turn(WALL_S + 7202)
        one.follower.turn(WALL_S + 7210)
        assert one.titles() == ["[alarm] lab: web on node1: on a new disk"]


def test_a_node_that_cannot_explain_and_one_that_is_lost_are_told_of_by_the_others(
    nodes: Nodes, tmp_path: Path
) -> None:
    with notifier(nodes, "node1", tmp_path) as one:
        one.follower.turn(WALL_S)
        nodes.decide("node2", "its disk\x1b[31m hangs\nSubject: x", "alarm", module="", prevent="another disk")
        one.follower.turn(WALL_S + 1)
        nodes.lost.add("node2")
        one.follower.turn(WALL_S + 7)
        (queued,) = one.store.queued()
    assert queued.message.title == "[alarm] lab: node2: its disk [31m hangs Subject: x"
    assert "what would have prevented it: another disk" in queued.message.text
    assert "on node2: safekit doctor" in queued.message.text
