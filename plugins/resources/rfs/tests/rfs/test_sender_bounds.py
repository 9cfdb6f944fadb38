"""The primary: what bounds its secondary, and what a disk that refuses to sync makes of it."""

from __future__ import annotations

import pytest
from safekit_resource_rfs import effects, marked, messages
from safekit_resource_rfs.changes import Sync
from safekit_resource_rfs.generations import Standing
from safekit_resource_rfs.sender import Gate, Mode, State

from .test_sender import CHANGE, PLACE, alone, holding, paired


@pytest.mark.parametrize(
    "directories",
    [
        tuple(messages.Marked(b"d%d" % number, 5) for number in range(11)),
        (messages.Marked(b"/".join([b"d"] * 11), 5),),
    ],
    ids=["many", "deep"],
)
def test_a_secondary_that_marks_without_end_is_compared_completely(
    monkeypatch: pytest.MonkeyPatch, directories: tuple[messages.Marked, ...]
) -> None:
    monkeypatch.setattr(marked, "MAX_MARKED_THERE", 10)
    desk = holding()
    desk.sender.pair()
    desk.sender.connected(0.0)
    desk.hear(desk.hello())
    page = messages.MarksPage(directories, True)
    desk.sender.received(page, 0.0)
    [asked] = [effect for effect in desk.sender.drain() if isinstance(effect, effects.NamesHere)]
    assert asked.path == b""


@pytest.mark.parametrize("mode", Mode)
def test_only_what_somebody_waits_for_is_sent_at_once(mode: Mode) -> None:
    desk = paired(mode)
    desk.sender.record(CHANGE, "a")
    desk.sender.synced(Sync(1, False), "s")
    is_awaited = [effect.is_awaited for effect in desk.sender.drain() if isinstance(effect, effects.Send)]
    assert is_awaited == [mode is Mode.WRITE, True]


def test_a_primary_whose_disk_refuses_to_sync_modifies_nothing_and_is_not_sure_to_have_everything() -> None:
    desk = paired()
    desk.sync_error = 5
    assert desk.sender.checkpoint()
    desk.run()
    assert desk.sender.touch([PLACE], 5) is Gate.FAILED
    assert desk.sender.marks.everything and desk.sender.durable.standing is Standing.DOUBT
    assert "disk" in desk.events and desk.sender.state is State.PAIRED, "the other node can take over"
    desk.sync_error = 0
    assert not desk.sender.checkpoint(), "the next sync would succeed, and say nothing"


def test_a_primary_whose_disk_failed_does_not_stand_alone() -> None:
    desk = paired()
    desk.sender.disk_failed(5)
    desk.sender.stand_alone(7, "7")
    desk.run()
    assert desk.sender.durable.paired and desk.sender.durable.standing is Standing.DOUBT


def test_a_primary_that_has_no_better_one_beside_it_stays_the_best() -> None:
    desk = alone()
    desk.sender.disk_failed(5)
    desk.run()
    assert desk.sender.durable.standing is Standing.UP and desk.sender.marks.everything


def test_a_sync_that_waits_while_a_miss_is_looked_at_again_is_answered_when_they_pair() -> None:
    desk = holding()
    desk.sender.pair()
    desk.sender.connected(0.0)
    desk.hear(desk.hello())
    desk.hear(messages.MarksPage((), True))
    desk.hear(messages.Stable(0))
    desk.sender.synced(Sync(1, False), "s")
    desk.run()
    desk.hear(messages.Paired(False))
    desk.hear(messages.Done(desk.take(messages.Numbered)[-1].seq))
    assert desk.answered == []
    desk.run()
    desk.hear(messages.Paired(True))
    assert desk.answered == ["s"]
