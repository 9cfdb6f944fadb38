"""The secondary: what bounds it, and what a disk that refuses to sync makes of it."""

from __future__ import annotations

from safekit_resource_rfs import effects, messages, wire
from safekit_resource_rfs.changes import Sync, Write

from .test_receiver import G2, Desk, paired


def test_more_bytes_than_a_window_end_the_connection() -> None:
    desk = Desk()
    desk.greet()
    desk.waits_for = {effects.Store}
    desk.begin()
    write = Write(1, 0, bytes(1 << 20))
    for seq in range(1, 200):
        desk.hear(messages.Numbered(seq, write))
        if "Disconnect" in desk.did:
            break
    assert 64 < seq < 128


def test_more_syncs_than_a_primary_waits_for_end_the_connection() -> None:
    desk = paired()
    desk.waits_for = {effects.StartSync}
    for seq in range(1, 10_000):
        desk.hear(messages.Numbered(seq, Sync(1, False)))
        if "Disconnect" in desk.did:
            break
    assert seq == 4096 + 4096 + 1


def test_a_directory_with_more_marks_than_a_frame_holds_is_told_in_pieces() -> None:
    desk = Desk()
    desk.waits_for = {effects.ResolveMarks}
    desk.greet()
    desk.begin()
    [resolve] = desk.waiting
    zones = tuple(range(1024))
    files = tuple((b"%0250d" % number, zones) for number in range(400))
    desk.receiver.marks_resolved(resolve.number, [messages.Marked(b"d", 5, True, False, files), *_SMALL])
    desk.run()
    *pages, last = [message for message in desk.sent if isinstance(message, messages.MarksPage)]
    assert last.last and not last.directories
    for page in pages:
        assert len(b"".join(wire.encode(page))) < 300_000
    told = [marked for page in pages for marked in page.directories]
    assert tuple(file for marked in told if marked.path == b"d" for file in marked.files) == files
    assert told[0].entries and told[0].path == b"d"
    assert [marked for marked in told if marked.path != b"d"] == _SMALL


_SMALL = [messages.Marked(b"e%d" % number, 5, True) for number in range(9000)]


def is_suspect(desk: Desk) -> bool:
    return desk.receiver.marks.everything and not desk.receiver.durable.up_to_date


def test_after_a_checkpoint_that_its_disk_refuses_everything_is_compared() -> None:
    desk = Desk()
    desk.greet()
    desk.begin()
    desk.pair()
    desk.sync_error = 5
    said = desk.hear(messages.Checkpoint(3))
    assert is_suspect(desk) and isinstance(said[-1], messages.Failed)
    desk.sync_error = 0
    desk.receiver.connected(1.0)
    desk.greet(G2)
    assert messages.MarksPage((), True, True) in desk.begin()
    desk.pair()
    assert desk.receiver.durable.up_to_date and desk.receiver.marks.everything
    desk.hear(messages.Checkpoint(4), messages.Cleared(4))
    assert not desk.receiver.marks.everything


def test_a_sync_that_fails_while_it_is_compared_is_not_forgotten() -> None:
    desk = Desk()
    desk.greet()
    desk.begin()
    desk.sync_error = 28
    desk.hear(messages.Numbered(1, Sync(1, False)))
    assert is_suspect(desk)
    assert desk.pair() == []


def test_a_sync_of_a_file_that_was_not_copied_yet_says_nothing_of_the_disk() -> None:
    desk = Desk()
    desk.greet()
    desk.begin()
    desk.sync_error = 2
    desk.hear(messages.Numbered(1, Sync(1, False)))
    desk.sync_error = 0
    assert messages.Paired(True) in desk.pair()


def test_a_sync_that_fails_while_pairing_goes_on_wins() -> None:
    desk = Desk()
    desk.greet()
    desk.begin()
    desk.waits_for = {effects.SyncAll, effects.StartSync}
    desk.hear(messages.Numbered(1, Sync(1, False)))
    desk.pair()
    start, sync_all = desk.waiting
    desk.receiver.synced(start.number, 5)
    desk.receiver.synced_all(sync_all.number, 0)
    desk.waiting = []
    desk.finish()
    assert is_suspect(desk) and messages.Paired(True) not in desk.sent


def test_an_answer_of_an_earlier_stream_is_none_to_a_sync_of_this_one() -> None:
    desk = Desk()
    desk.greet()
    desk.begin()
    desk.pair()
    desk.waits_for = {effects.StartSync}
    desk.hear(messages.Numbered(1, Sync(1, False)))
    desk.receiver.disconnected(1.0)
    desk.receiver.connected(1.0)
    desk.greet(G2)
    desk.begin()
    desk.pair()
    desk.hear(messages.Numbered(1, Sync(2, False)))
    earlier, later = desk.waiting
    desk.sent.clear()
    desk.receiver.synced(earlier.number, 0)
    desk.run()
    assert messages.Synced(1) not in desk.sent
    desk.receiver.synced(later.number, 0)
    desk.run()
    assert messages.Synced(1) in desk.sent
