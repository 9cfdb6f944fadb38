"""Frames: everything comes back as it was sent, and nothing that is sent does harm."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safekit_resource_rfs import changes, messages
from safekit_resource_rfs.wire import MAX_FRAME_BYTES, Decoder, encode

from safekit_sdk import PeerError

from .strategies import from_primary, from_secondary


def sent(message: Any) -> bytes:
    return b"".join(encode(message))


def plain(message: Any) -> Any:
    """The data of a write as bytes."""
    if isinstance(message, messages.Numbered) and isinstance(message.change, changes.Write):
        write = message.change
        plain_write = changes.Write(write.slot, write.offset, bytes(write.data))
        return messages.Numbered(message.seq, plain_write, message.aside)
    return message


@given(from_primary)
def test_what_a_primary_sends_comes_back(message: Any) -> None:
    assert [plain(each) for each in Decoder(from_primary=True).feed(sent(message))] == [message]


@given(from_secondary)
def test_what_a_secondary_sends_comes_back(message: Any) -> None:
    assert Decoder(from_primary=False).feed(sent(message)) == [message]


@given(st.lists(from_primary, max_size=4), st.integers(1, 40))
def test_frames_come_in_any_pieces(wanted: list[Any], size: int) -> None:
    data = b"".join(map(sent, wanted))
    decoder = Decoder(from_primary=True)
    found = [message for at in range(0, len(data), size) for message in decoder.feed(data[at : at + size])]
    assert [plain(each) for each in found] == wanted


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    for from_a_primary in (True, False):
        try:
            Decoder(from_primary=from_a_primary).feed(data)
        except PeerError as error:
            assert error.hint


@settings(max_examples=300)
@given(from_primary | from_secondary, st.data())
def test_a_damaged_message_is_a_message_or_an_error(message: Any, data: st.DataObject) -> None:
    frame = bytearray(sent(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for from_a_primary in (True, False):
        try:
            Decoder(from_primary=from_a_primary).feed(bytes(frame))
        except PeerError:
            continue


@given(from_primary | from_secondary, st.integers(0, 60))
def test_a_message_that_ends_early_is_an_error(message: Any, cut: int) -> None:
    frame = sent(message)
    body = frame[5 : max(5, len(frame) - 1 - cut)]
    shorter = struct.pack("<I", len(body) + 1) + frame[4:5] + body
    try:
        Decoder(from_primary=frame[4] < 65).feed(shorter)
    except PeerError:
        return
    assert isinstance(message, messages.Alive | messages.Numbered), "only a write may be shorter"


def test_a_frame_without_end_is_refused_before_it_is_kept() -> None:
    with pytest.raises(PeerError, match="a frame of"):
        Decoder(from_primary=True).feed(struct.pack("<IB", MAX_FRAME_BYTES + 1, 3))
    with pytest.raises(PeerError, match="a frame of"):
        Decoder(from_primary=True).feed(struct.pack("<IB", 0, 3))


def test_a_list_that_claims_to_be_endless_costs_nothing() -> None:
    frame = struct.pack("<IBQII", 17, 71, 1, 0, 0xFFFFFFFF)
    with pytest.raises(PeerError, match="a list of"):
        Decoder(from_primary=False).feed(frame)


@pytest.mark.parametrize(
    "path",
    [b"/etc", b"a//b", b"../x", b"a/..", b"a/./b", b"a\0b", b".safekit-rfs/x", b"x" * 256, b"a/" * (1 << 14) + b"abc"],
)
def test_a_path_that_leaves_the_directory_is_refused(path: bytes) -> None:
    frame = sent(messages.Numbered(1, changes.MakeDirectory(path, 0o755, 0, 0)))
    with pytest.raises(PeerError, match=r"path|field of"):
        Decoder(from_primary=True).feed(frame)


@pytest.mark.parametrize("slot", [0, changes.SLOTS + changes.RESYNC_SLOTS, 1 << 31])
def test_a_slot_that_does_not_exist_is_refused(slot: int) -> None:
    with pytest.raises(PeerError, match="slot"):
        Decoder(from_primary=True).feed(sent(messages.Numbered(1, changes.Resize(slot, 5))))


def test_a_message_of_the_other_side_is_refused() -> None:
    with pytest.raises(PeerError, match="wrong side"):
        Decoder(from_primary=True).feed(sent(messages.Done(3)))
    with pytest.raises(PeerError, match="wrong side"):
        Decoder(from_primary=False).feed(sent(messages.Checkpoint(3)))


def test_the_data_of_a_write_are_sent_without_a_copy() -> None:
    data = memoryview(bytearray(changes.MAX_DATA_BYTES))
    head, body = encode(messages.Numbered(1, changes.Write(1, 0, data)))
    assert body is data
    [message] = Decoder(from_primary=True).feed(bytes(head) + bytes(body))
    assert isinstance(message, messages.Numbered)
