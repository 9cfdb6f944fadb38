"""The secondary: what it applies, what it says, and what it knows of itself."""

from __future__ import annotations

from typing import Any

from safekit_resource_rfs import effects, messages
from safekit_resource_rfs.changes import MakeDirectory, Sync
from safekit_resource_rfs.generations import Durable, Generation
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.sender import Limits

G1, G2 = Generation("1", 1), Generation("2", 2, ("1",))
UP = Durable(G1, up_to_date=True, paired=True, marks_since="1")
CHANGE = MakeDirectory(b"d", 0o755, 0, 0)


class Desk:
    """Performs the effects; changes in `refused` fail."""

    def __init__(self, durable: Durable = UP) -> None:
        self.receiver = Receiver(durable, Marks(), "bb", Limits(timeout_s=1.0))
        self.receiver.connected(0.0)
        self.sent: list[Any] = []
        self.did: list[str] = []
        self.applied: list[int] = []
        self.refused: set[int] = set()
        self.waits_for: set[type] = set()
        self.waiting: list[Any] = []
        self.is_full = False
        """The disk of what has to be durable."""
        self.aside: list[bool] = []
        self.sync_error = 0

    def run(self) -> None:
        for effect in self.receiver.drain():
            self.did.append(type(effect).__name__)
            if type(effect) in self.waits_for:
                self.waiting.append(effect)
            else:
                self.perform(effect)

    def perform(self, effect: Any) -> None:
        receiver = self.receiver
        if isinstance(effect, effects.Send):
            self.sent.append(effect.message)
        elif isinstance(effect, effects.Apply):
            self.applied.append(effect.seq)
            self.aside.append(effect.aside)
            receiver.applied(effect.seq, 28 if effect.seq in self.refused else 0, "refused")
        elif isinstance(effect, effects.Store | effects.ReplaceMarks) and self.is_full:
            receiver.store_failed("full")
        elif isinstance(effect, effects.Store):
            receiver.stored(effect.number)
        elif isinstance(effect, effects.SyncAll):
            receiver.synced_all(effect.number, self.sync_error)
        elif isinstance(effect, effects.StartSync):
            receiver.synced(effect.number, self.sync_error)
        elif isinstance(effect, effects.ResolveMarks):
            receiver.marks_resolved(effect.number, ())
        elif isinstance(effect, effects.AppendMarks | effects.ReplaceMarks):
            receiver.marks_stored(effect.number)

    def finish(self) -> None:
        waiting, self.waiting, self.waits_for = self.waiting, [], set()
        for effect in waiting:
            self.perform(effect)
        self.run()

    def hear(self, *some: Any) -> list[Any]:
        """Returns what it said then."""
        self.sent.clear()
        for message in some:
            self.receiver.received(message, 0.0)
        self.run()
        return self.sent

    def greet(self, generation: Generation = G1) -> None:
        primary = Durable(generation, up_to_date=True)
        self.hear(messages.PrimaryHello(messages.VERSION, "aa", primary))

    def begin(self, resume: messages.Resume = messages.Resume.MARKS, next_seq: int = 1) -> list[Any]:
        return self.hear(messages.Begin(resume, next_seq, False))

    def pair(self, misses: int = 0) -> list[Any]:
        return self.hear(messages.Pair(G2, misses, 0))


def numbered(*seqs: int) -> list[messages.Numbered]:
    return [messages.Numbered(seq, CHANGE) for seq in seqs]


def paired() -> Desk:
    desk = Desk()
    desk.greet(G2)
    desk.begin()
    desk.pair()
    return desk


def test_it_is_not_up_to_date_on_record_before_it_is_compared() -> None:
    desk = Desk()
    desk.greet()
    desk.waits_for = {effects.Store}
    assert desk.begin() == []
    [store] = desk.waiting
    assert not store.durable.up_to_date
    assert desk.hear(*numbered(1)) == [] and desk.applied == []
    desk.finish()
    assert desk.applied == [1]
    assert desk.sent == [messages.MarksPage((), True), messages.Done(1)]


def test_it_is_up_to_date_when_its_disk_has_everything_and_that_is_on_record() -> None:
    desk = Desk()
    desk.greet(G2)
    desk.begin()
    desk.waits_for = {effects.SyncAll}
    assert desk.pair() == []
    desk.waits_for = {effects.Store}
    sync = desk.waiting.pop()
    desk.perform(sync)
    desk.run()
    [store] = desk.waiting
    assert store.durable.up_to_date and store.durable.generation == G2
    assert desk.sent == []
    desk.finish()
    assert desk.sent == [messages.Paired(True)]


def test_while_it_is_compared_it_goes_on_after_what_it_cannot_apply_and_says_so() -> None:
    desk = Desk()
    desk.greet(G2)
    desk.begin()
    desk.refused = {2}
    assert desk.hear(*numbered(1, 2, 3)) == [messages.Missed(2, 28), messages.Done(3)]
    assert desk.pair(misses=0) == [messages.Paired(False)], "the primary does not know of the miss yet"
    assert not desk.receiver.durable.up_to_date
    assert desk.pair(misses=1) == [messages.Paired(True)]


def test_when_it_is_paired_a_change_that_fails_makes_it_out_of_date_on_record_first() -> None:
    desk = paired()
    desk.refused = {2}
    desk.waits_for = {effects.Store}
    assert desk.hear(*numbered(1, 2, 3)) == []
    assert desk.applied == [1, 2], "what follows is not applied"
    assert not desk.waiting[0].durable.up_to_date
    desk.finish()
    assert desk.sent == [messages.Failed(2, 28, "refused")]
    assert desk.did[-1] == "Disconnect"


def test_a_sync_is_answered_when_the_disk_has_it_and_others_go_on() -> None:
    desk = paired()
    desk.waits_for = {effects.StartSync}
    assert desk.hear(messages.Numbered(1, Sync(1, False)), *numbered(2)) == [messages.Done(2)]
    desk.sent.clear()
    desk.finish()
    assert desk.sent == [messages.Synced(1)]


def test_it_goes_on_with_the_stream_that_it_followed() -> None:
    desk = paired()
    desk.hear(*numbered(1, 2))
    desk.receiver.disconnected(1.0)
    desk.receiver.connected(2.0)
    desk.greet(G2)
    [hello] = desk.sent
    assert (hello.stream, hello.applied) == ("aa", 2)
    desk.begin(messages.Resume.STREAM, 3)
    assert desk.hear(*numbered(3)) == [messages.Done(3)]
    assert desk.receiver.durable.up_to_date


def test_it_does_not_go_on_with_a_stream_that_it_did_not_follow() -> None:
    for next_seq in (2, 4):
        desk = paired()
        desk.hear(*numbered(1, 2))
        desk.receiver.disconnected(1.0)
        desk.receiver.connected(2.0)
        desk.greet(G2)
        desk.begin(messages.Resume.STREAM, next_seq)
        assert desk.did[-1] == "Disconnect"
    desk = Desk()
    desk.greet()
    desk.begin(messages.Resume.STREAM, 1)
    assert desk.did[-1] == "Disconnect"


def test_it_follows_no_primary_with_older_data() -> None:
    desk = Desk(Durable(G2, up_to_date=True))
    desk.greet(G1)
    desk.begin()
    assert desk.did[-1] == "Disconnect"
    assert desk.receiver.durable.up_to_date


def test_a_pair_that_a_lost_connection_overtook_is_not_stored() -> None:
    desk = Desk()
    desk.greet(G2)
    desk.begin()
    desk.waits_for = {effects.SyncAll}
    desk.pair()
    desk.receiver.disconnected(1.0)
    desk.finish()
    assert not desk.receiver.durable.up_to_date
    desk.receiver.connected(2.0)
    desk.greet(G2)
    assert desk.begin() == [messages.MarksPage((), True)], "it can be compared again"


def test_a_gap_in_the_numbers_ends_the_connection() -> None:
    desk = paired()
    desk.hear(*numbered(1, 3))
    assert desk.applied == [1]
    assert desk.did[-1] == "Disconnect"


def test_more_than_a_window_can_hold_ends_the_connection() -> None:
    desk = paired()
    desk.waits_for = {effects.Store}
    desk.receiver.disconnected(1.0)
    desk.receiver.connected(1.0)
    desk.greet(G2)
    desk.begin()
    for seq in range(1, 20_000):
        desk.receiver.received(messages.Numbered(seq, CHANGE), 1.0)
    desk.run()
    assert "Disconnect" in desk.did


def test_messages_out_of_place_end_the_connection() -> None:
    for message in (
        messages.Pair(G1, 0, 0),
        messages.Checkpoint(1),
        messages.List(1, b""),
        messages.Numbered(1, CHANGE),
        messages.Begin(messages.Resume.MARKS, 1, False),
    ):
        desk = Desk()
        desk.hear(message)
        assert desk.did[-1] == "Disconnect", message
    desk = Desk()
    desk.hear(messages.PrimaryHello(99, "aa", UP))
    assert desk.did[-1] == "Disconnect"


def test_a_silent_primary_is_left() -> None:
    desk = paired()
    desk.receiver.tick(0.9)
    desk.run()
    assert desk.sent[-1] == messages.Alive()
    desk.receiver.tick(1.5)
    desk.run()
    assert desk.did[-1] == "Disconnect"
    assert desk.receiver.durable.up_to_date, "it has everything that it was told"


def test_a_checkpoint_is_on_record_before_it_is_answered() -> None:
    desk = paired()
    desk.waits_for = {effects.Store}
    assert desk.hear(messages.Checkpoint(4)) == []
    assert desk.waiting[0].durable.stable == 4
    desk.finish()
    assert desk.sent == [messages.Stable(4)]
    desk.hear(messages.Cleared(4))
    assert desk.receiver.durable.cleared == 4


def again(desk: Desk) -> list[Any]:
    """What it says to a primary that connects anew."""
    desk.receiver.disconnected(0.0)
    desk.receiver.connected(0.0)
    desk.greet(G2)
    return list(desk.sent)


def tick(desk: Desk, now_s: float) -> list[Any]:
    """What it says besides that it is there."""
    desk.sent.clear()
    desk.receiver.tick(now_s)
    desk.run()
    return [message for message in desk.sent if message != messages.Alive()]


def test_what_could_not_be_recorded_is_tried_again_before_anything_is_confirmed() -> None:
    desk = paired()
    desk.is_full = True
    assert desk.hear(messages.Checkpoint(4)) == []
    assert desk.did[-1] == "Disconnect"
    assert desk.receiver.is_failing
    assert again(desk) == []
    assert tick(desk, 0.3) == []
    assert desk.did.count("Store") == 4
    desk.is_full = False
    [hello] = tick(desk, 0.6)
    assert (hello.durable.stable, hello.stream) == (4, "aa"), "nothing is lacking: it goes on where it was"
    assert not desk.receiver.is_failing


def test_a_failure_that_could_not_be_recorded_is_before_it_follows_anyone_again() -> None:
    desk = paired()
    desk.is_full = True
    desk.refused = {1}
    assert desk.hear(*numbered(1)) == []
    assert again(desk) == []
    desk.is_full = False
    [hello] = tick(desk, 0.6)
    assert (hello.durable.up_to_date, hello.stream) == (False, "")


def test_it_is_not_paired_by_a_record_that_could_not_be_written() -> None:
    desk = Desk()
    desk.greet(G2)
    desk.begin()
    desk.is_full = True
    assert desk.pair() == []
    assert desk.did[-1] == "Disconnect"
    assert not desk.receiver.is_paired


def test_marks_that_could_not_be_cleared_are_cleared_later() -> None:
    desk = paired()
    desk.hear(messages.Checkpoint(4))
    desk.waits_for = {effects.ReplaceMarks}
    desk.hear(messages.Cleared(4))
    desk.receiver.store_failed("full")
    desk.finish()
    tick(desk, 1.0)
    assert not desk.receiver.is_failing
    again(desk)
    desk.begin(messages.Resume.STREAM)
    desk.hear(messages.Checkpoint(5))
    assert desk.hear(messages.Cleared(5)) == []
    assert desk.receiver.durable.cleared == 5


def test_what_it_has_of_its_own_is_kept_aside_whatever_the_primary_says() -> None:
    for own, is_split in ((Generation("3", 2, ("1",)), True), (Generation("9", 1), True), (G1, False), (G2, False)):
        desk = Desk(Durable(own, up_to_date=True, marks_since="1"))
        desk.greet(G2)
        desk.begin()
        desk.hear(*numbered(1))
        assert desk.aside == [is_split]
        desk.pair()
        desk.hear(*numbered(2))
        assert desk.aside == [is_split, False], "nothing is left of what it had"


def test_what_is_in_a_directory_that_was_never_synchronised_is_kept_aside() -> None:
    desk = Desk(Durable())
    desk.greet(G2)
    desk.begin(messages.Resume.FULL)
    desk.hear(*numbered(1))
    assert desk.aside == [True]


def test_what_nobody_waits_for_is_said_with_the_sync_that_follows() -> None:
    desk = paired()
    desk.receiver.disconnected(1.0)
    desk.receiver.connected(1.0)
    desk.greet(G2)
    assert desk.hear(messages.Begin(messages.Resume.STREAM, 1, False, False)) == []
    assert desk.hear(*numbered(1)) == [messages.Done(1)]
    desk.waits_for = {effects.StartSync}
    assert desk.hear(*numbered(2), messages.Numbered(3, Sync(1, False))) == []
    assert desk.hear(*numbered(4)) == []
    desk.finish()
    assert desk.sent == [messages.Done(4), messages.Synced(3)]


def test_where_an_application_waits_for_it_it_is_said_before_the_sync() -> None:
    desk = paired()
    desk.waits_for = {effects.StartSync}
    assert desk.hear(*numbered(1), messages.Numbered(2, Sync(1, False))) == [messages.Done(2)]


def test_the_done_of_a_sync_goes_with_its_synced() -> None:
    desk = paired()
    desk.waits_for = {effects.StartSync}
    assert desk.hear(*numbered(1)) == [messages.Done(1)]
    assert desk.hear(messages.Numbered(2, Sync(1, False))) == []
    assert desk.hear(*numbered(3)) == [messages.Done(3)]
    assert desk.hear(messages.Numbered(4, Sync(1, False))) == []
    desk.finish()
    assert desk.sent == [messages.Done(4), messages.Synced(2), messages.Synced(4)]
