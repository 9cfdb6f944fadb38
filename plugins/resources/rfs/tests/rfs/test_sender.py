"""The primary: what it acknowledges, and when."""

from __future__ import annotations

from typing import Any

import pytest
from safekit_resource_rfs import effects, messages
from safekit_resource_rfs.changes import MakeDirectory, MakeFile, Sync, Write
from safekit_resource_rfs.generations import Durable, Generation
from safekit_resource_rfs.marks import Marks, Place
from safekit_resource_rfs.sender import Gate, Limits, Mode, Sender, State

G1 = Generation("1", 1)
EMPTY = Durable()
PAIRED = Durable(G1, up_to_date=True, paired=True, marks_since="1")
LIMITS = Limits(window_changes=4, window_bytes=1 << 20, timeout_s=1.0, stall_s=3.0, checkpoint_s=1000.0)
CHANGE = MakeDirectory(b"d", 0o755, 0, 0)
PLACE = Place(b"root")


class Desk:
    """Performs what the disk would, and keeps what is sent and answered."""

    def __init__(self, mode: Mode = Mode.WRITE, durable: Durable = EMPTY, limits: Limits = LIMITS) -> None:
        self.sender = Sender(durable, Marks(), mode, "aa", limits)
        self.sent: list[Any] = []
        self.answered: list[Any] = []
        self.events: list[str] = []
        self.disk_is_slow = False
        self.sync_error = 0
        self.stores: list[effects.Store] = []

    def run(self) -> None:
        for effect in self.sender.drain():
            if isinstance(effect, effects.Send):
                self.sent.append(effect.message)
            elif isinstance(effect, effects.Release):
                self.answered += effect.tokens
            elif isinstance(effect, effects.Store) and self.disk_is_slow:
                self.stores.append(effect)
            elif isinstance(effect, effects.Store):
                self.sender.stored(effect.number)
            elif isinstance(effect, effects.AppendMarks | effects.ReplaceMarks):
                self.sender.marks_stored(effect.number)
            elif isinstance(effect, effects.SyncAll):
                self.sender.synced_all(effect.number, self.sync_error)
            elif isinstance(effect, effects.ResolveMarks):
                self.sender.marks_resolved(effect.number, ())
            elif isinstance(effect, effects.Report | effects.Disconnect):
                self.events.append(effect.event if isinstance(effect, effects.Report) else "disconnect")

    def hear(self, message: Any, now_s: float = 0.0) -> None:
        self.sender.received(message, now_s)
        self.run()

    def take(self, kind: type) -> list[Any]:
        found = [message for message in self.sent if isinstance(message, kind)]
        self.sent = [message for message in self.sent if not isinstance(message, kind)]
        return found

    def hello(self, **more: Any) -> messages.SecondaryHello:
        values: dict[str, Any] = {"stream": "", "applied": 0, "durable": PAIRED} | more
        return messages.SecondaryHello(messages.VERSION, "bb", **values)

    def record(self, token: str) -> bool:
        answered = self.sender.record(CHANGE, token)
        self.run()
        return answered


def state_of(desk: Desk) -> State:
    return desk.sender.state


def alone(**more: Any) -> Desk:
    desk = Desk(**more)
    desk.sender.promote(1, "1", alone=True)
    desk.run()
    return desk


def holding(mode: Mode = Mode.WRITE) -> Desk:
    desk = Desk(mode, PAIRED)
    desk.sender.promote(2, "unused", alone=False)
    desk.run()
    return desk


def paired(mode: Mode = Mode.WRITE) -> Desk:
    """By way of a secondary that has nothing to compare."""
    desk = holding(mode)
    desk.sender.pair()
    desk.sender.connected(0.0)
    desk.hear(desk.hello())
    desk.hear(messages.MarksPage((), True))
    desk.hear(messages.Stable(0))
    assert desk.take(messages.Pair)
    desk.hear(messages.Paired(True))
    assert desk.sender.state is State.PAIRED
    desk.sent.clear()
    return desk


def test_a_modification_waits_until_its_mark_is_on_the_disk() -> None:
    desk = alone()
    assert desk.sender.touch([PLACE], 5) is Gate.WAIT
    [append] = [effect for effect in desk.sender.drain() if isinstance(effect, effects.AppendMarks)]
    assert desk.sender.touch([PLACE], 5) is Gate.WAIT
    desk.sender.marks_stored(append.number)
    assert any(isinstance(effect, effects.Wake) for effect in desk.sender.drain())
    assert desk.sender.touch([PLACE], 5) is Gate.GO


def test_nothing_is_modified_on_a_node_that_is_not_primary() -> None:
    assert Desk().sender.touch([PLACE], 5) is Gate.REFUSED


def test_alone_it_acknowledges_at_once() -> None:
    desk = alone()
    assert desk.sender.state is State.ALONE
    assert desk.record("a")
    desk.sender.synced(Sync(1, False), "s")
    desk.run()
    assert desk.answered == ["s"]


def test_paired_in_mode_write_it_acknowledges_what_the_secondary_has_in_order() -> None:
    desk = paired()
    assert not desk.record("a")
    assert not desk.record("b")
    first, second = (message.seq for message in desk.take(messages.Numbered))
    assert desk.answered == []
    desk.hear(messages.Done(first))
    assert desk.answered == ["a"]
    desk.hear(messages.Done(second))
    assert desk.answered == ["a", "b"]


@pytest.mark.parametrize("mode", [Mode.ORDERED, Mode.WRITEBACK])
def test_paired_in_the_other_modes_only_an_fsync_waits(mode: Mode) -> None:
    desk = paired(mode)
    assert desk.record("a")
    desk.sender.synced(Sync(1, False), "s")
    desk.run()
    sync = desk.take(messages.Numbered)[-1]
    desk.hear(messages.Done(sync.seq))
    assert desk.answered == []
    desk.hear(messages.Synced(sync.seq))
    assert desk.answered == ["s"]


@pytest.mark.parametrize("mode", list(Mode))
def test_without_its_secondary_a_paired_primary_acknowledges_nothing_until_it_stands_alone(mode: Mode) -> None:
    desk = paired(mode)
    desk.sender.disconnected(1.0)
    assert desk.sender.state is State.HOLDING
    assert not desk.record("a")
    desk.sender.synced(Sync(1, False), "s")
    desk.run()
    assert desk.answered == []
    desk.disk_is_slow = True
    desk.sender.stand_alone(3, "3")
    desk.run()
    assert desk.answered == [], "the new generation is not on the disk yet"
    [store] = desk.stores
    assert store.durable.generation == Generation("3", 3, ("1",))
    assert not store.durable.paired
    desk.sender.stored(store.number)
    desk.run()
    assert sorted(desk.answered) == ["a", "s"]
    assert state_of(desk) is State.ALONE


def test_a_secondary_that_comes_back_with_the_same_stream_gets_what_it_lacks() -> None:
    desk = paired()
    desk.record("a")
    desk.record("b")
    first, second = (message.seq for message in desk.take(messages.Numbered))
    desk.sender.disconnected(1.0)
    desk.record("c")
    desk.sender.connected(2.0)
    desk.hear(desk.hello(stream="aa", applied=first), 2.0)
    assert desk.take(messages.Begin) == [messages.Begin(messages.Resume.STREAM, second, False)]
    assert [message.seq for message in desk.take(messages.Numbered)] == [second, second + 1]
    assert desk.answered == ["a"]
    assert desk.sender.state is State.PAIRED


@pytest.mark.parametrize("hello", [{"stream": "cc", "applied": 1}, {"stream": "", "applied": 1}])
def test_a_secondary_that_lost_its_memory_is_compared_while_the_primary_holds(hello: dict[str, Any]) -> None:
    desk = paired()
    desk.record("a")
    desk.sender.disconnected(1.0)
    desk.sender.connected(2.0)
    desk.hear(desk.hello(**hello), 2.0)
    assert desk.take(messages.Begin)[0].resume is messages.Resume.MARKS
    assert desk.sender.state is State.HOLDING
    assert not desk.record("b")
    desk.hear(messages.MarksPage((), True), 2.0)
    desk.hear(messages.Stable(0), 2.0)
    assert desk.answered == []
    last = desk.take(messages.Numbered)[-1].seq
    desk.hear(messages.Done(last), 2.0)
    desk.hear(messages.Paired(True), 2.0)
    assert desk.answered == ["a", "b"]


def test_it_pairs_only_when_the_engine_says_so_and_that_is_durable_first() -> None:
    desk = holding()
    desk.sender.connected(0.0)
    desk.hear(desk.hello())
    desk.hear(messages.MarksPage((), True))
    desk.hear(messages.Stable(0))
    assert not desk.take(messages.Pair)
    desk.disk_is_slow = True
    desk.sender.pair()
    desk.run()
    assert not desk.take(messages.Pair)
    assert desk.stores[0].durable.paired
    desk.sender.stored(desk.stores[0].number)
    desk.run()
    assert desk.take(messages.Pair)


def test_a_full_window_makes_the_file_system_wait() -> None:
    desk = paired()
    desk.sender.touch([PLACE], 5)
    desk.run()
    for number in range(LIMITS.window_changes):
        assert desk.sender.touch([PLACE], 5) is Gate.GO
        desk.record(str(number))
    assert desk.sender.touch([PLACE], 5) is Gate.WAIT
    desk.sender.received(messages.Done(desk.take(messages.Numbered)[-1].seq), 0.0)
    assert any(isinstance(effect, effects.Wake) for effect in desk.sender.drain())


def test_large_writes_fill_the_window_too() -> None:
    desk = paired()
    desk.sender.record(MakeFile(b"f", 1, 0o644, 0, 0), "a")
    desk.sender.record(Write(1, 0, bytes(1 << 20)), "b")
    assert desk.sender.touch((), 5) is Gate.WAIT


def test_a_silent_secondary_is_dropped_and_one_that_does_nothing_too() -> None:
    desk = paired()
    desk.sender.tick(1.5)
    desk.run()
    assert desk.events[-2:] == ["disconnect", "disconnected"]
    desk = paired()
    desk.record("a")
    for step in range(8):
        desk.hear(messages.Alive(), step / 2)
        desk.sender.tick(step / 2)
        desk.run()
    assert desk.sender.state is State.HOLDING


def test_a_secondary_that_failed_is_held_against() -> None:
    desk = paired()
    desk.hear(messages.Failed(3, 28, "no space"))
    assert desk.sender.state is State.HOLDING
    assert "failed" in desk.events


def test_data_that_are_newer_or_unrelated_are_not_overwritten() -> None:
    for other, event in ((Generation("2", 2, ("1",)), "outdated"), (Generation("9", 2), "unrelated")):
        desk = holding()
        desk.sender.connected(0.0)
        desk.hear(desk.hello(durable=Durable(other, up_to_date=True)))
        assert event in desk.events
        assert not desk.take(messages.Begin)


def test_unrelated_data_are_overwritten_when_an_operator_asks_and_kept_aside() -> None:
    desk = holding()
    desk.sender.allow(unrelated=True)
    desk.sender.connected(0.0)
    desk.hear(desk.hello(durable=Durable(Generation("9", 2), up_to_date=True)))
    assert desk.take(messages.Begin)[0] == messages.Begin(messages.Resume.FULL, 1, True)


def test_marks_go_when_both_disks_have_what_they_are_of() -> None:
    desk = paired()
    desk.sender.touch([PLACE], 5)
    desk.run()
    assert desk.sender.marks.count
    desk.sender.checkpoint()
    desk.run()
    [checkpoint] = desk.take(messages.Checkpoint)
    assert desk.sender.marks.count, "the secondary's disk does not have it yet"
    desk.hear(messages.Stable(checkpoint.number))
    assert desk.take(messages.Cleared) == [messages.Cleared(checkpoint.number)]
    assert not desk.sender.marks.count
    assert desk.sender.durable.cleared == checkpoint.number


def test_a_node_in_doubt_becomes_primary_only_by_force() -> None:
    desk = Desk(durable=PAIRED.opened("another boot").opened("another boot"))
    desk.sender = Sender(Durable(G1, up_to_date=True, paired=True, doubt=True), Marks(), Mode.WRITE, "aa", LIMITS)
    desk.sender.promote(2, "2", alone=False)
    desk.run()
    assert desk.events == ["refused"]
    desk.sender.promote(2, "2", alone=True)
    desk.run()
    assert desk.sender.state is State.ALONE


def test_what_the_secondary_may_not_say_ends_the_connection() -> None:
    for message in (
        messages.Done(99),
        messages.Missed(1, 2),
        messages.Listed(7, 0, (), True),
        messages.Paired(True),
        messages.MarksPage((), True),
        SecondaryAgain,
    ):
        desk = paired()
        desk.hear(message)
        assert desk.events[-3:] == ["protocol", "disconnect", "disconnected"], message


SecondaryAgain = messages.SecondaryHello(1, "bb", "", 0, PAIRED)


def test_an_answer_of_another_kind_than_the_question_ends_the_connection() -> None:
    desk = alone()
    desk.sender.connected(0.0)
    desk.hear(desk.hello(durable=Durable()))
    desk.hear(messages.MarksPage((), True))
    for effect in desk.sender.drain():
        assert not isinstance(effect, effects.NamesHere)
    desk.hear(messages.Checksummed(1, 0, ()))
    assert "protocol" in desk.events


def test_a_clean_stop_waits_for_the_secondary_and_ends_with_a_checkpoint() -> None:
    desk = paired()
    desk.sender.touch([PLACE], 5)
    desk.run()
    desk.record("a")
    desk.sender.demote()
    desk.run()
    assert desk.sender.touch([PLACE], 6) is Gate.REFUSED
    assert "demoted" not in desk.events
    desk.hear(messages.Done(desk.take(messages.Numbered)[-1].seq))
    desk.hear(messages.Stable(desk.take(messages.Checkpoint)[0].number))
    assert "demoted" in desk.events
    assert desk.answered == ["a"]


def test_nothing_is_modified_after_a_mark_could_not_be_written() -> None:
    desk = paired()
    desk.sender.touch((PLACE,), 1)
    appended = [effect for effect in desk.sender.drain() if isinstance(effect, effects.AppendMarks)]
    assert len(appended) == 1
    desk.sender.store_failed("no space")
    desk.run()
    assert "disk" in desk.events
    assert desk.sender.touch((PLACE,), 2) is Gate.FAILED
    assert desk.sender.touch((), 2) is Gate.FAILED
    assert not desk.sender.marks.new.holds(PLACE)
    desk.sender.demote()
    desk.run()
    assert state_of(desk) is State.IDLE
    assert desk.sender.marks.begin_append()


def test_times_are_recorded_before_the_marks_of_what_they_are_of_are_cleared() -> None:
    desk = paired()

    def record_times() -> None:
        desk.sender.record(CHANGE, None)

    desk.sender.record_times = record_times
    desk.sent.clear()
    assert desk.sender.checkpoint()
    desk.run()
    assert [type(message) for message in desk.sent] == [messages.Numbered, messages.Checkpoint]
