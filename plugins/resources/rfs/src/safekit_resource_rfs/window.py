"""Changes on their way: the primary keeps what is not confirmed, to send it again or to find it when it was missed; the
secondary what it could not look at yet. Both are bounded, in number and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from safekit_resource_rfs.changes import Change, SetXattr, Write
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.messages import FromPrimary, List, Numbered

CHANGE_BYTES: Final = 256
"""What a change costs besides its data."""


@dataclass(frozen=True, slots=True)
class Kept:
    seq: int
    change: Change
    sent_s: float


class Window:
    """Numbers go on when it is emptied: they are never used twice in one stream."""

    def __init__(self, max_changes: int, max_bytes: int) -> None:
        self.next_seq = 1
        self.done_seq = 0
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: deque[Kept] = deque()

    @property
    def is_full(self) -> bool:
        return len(self._kept) >= self._max_changes or self._bytes >= self._max_bytes

    @property
    def is_half_full(self) -> bool:
        return 2 * len(self._kept) >= self._max_changes or 2 * self._bytes >= self._max_bytes

    @property
    def is_empty(self) -> bool:
        return not self._kept

    @property
    def lag(self) -> tuple[int, int]:
        """Changes that are kept, and what they cost in bytes."""
        return len(self._kept), self._bytes

    @property
    def oldest_s(self) -> float | None:
        return self._kept[0].sent_s if self._kept else None

    def number(self) -> int:
        """The next, of a change that is not kept."""
        self.next_seq += 1
        return self.next_seq - 1

    def go_on_at(self, next_seq: int) -> None:
        """All before this number is done."""
        self.next_seq, self.done_seq = next_seq, next_seq - 1

    def add(self, change: Change, now_s: float) -> int:
        if isinstance(change, Write) and isinstance(change.data, memoryview):
            change = Write(change.slot, change.offset, bytes(change.data))
        kept = Kept(self.number(), change, now_s)
        self._kept.append(kept)
        self._bytes += cost_bytes(change)
        return kept.seq

    def done(self, seq: int) -> None:
        """PeerError for a number that was never sent, or that goes back."""
        if not self.done_seq <= seq < self.next_seq:
            refuse(f"change {seq} is done, while {self.done_seq} were and {self.next_seq} is the next")
        self.done_seq = seq
        while self._kept and self._kept[0].seq <= seq:
            self._bytes -= cost_bytes(self._kept.popleft().change)

    def change(self, seq: int) -> Change:
        if not self._kept or not self._kept[0].seq <= seq <= self._kept[-1].seq:
            refuse(f"change {seq} is not on its way")
        return self._kept[seq - self._kept[0].seq].change

    def after(self, seq: int) -> Iterator[Kept]:
        start = seq + 1 - self._kept[0].seq if self._kept else 0
        return islice(self._kept, max(0, start), None)

    def can_resume(self, applied: int) -> bool:
        """Whether all after this one are kept."""
        return self.done_seq <= applied < self.next_seq

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0
        self.done_seq = self.next_seq - 1


def cost_bytes(change: Change) -> int:
    if isinstance(change, Write):
        return CHANGE_BYTES + len(change.data)
    return CHANGE_BYTES + len(change.value) if isinstance(change, SetXattr) else CHANGE_BYTES


class Inbox:
    """What came from the primary and was not looked at yet. It takes no more than a window, and what may come beside
    it: questions, binds, checkpoints."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0
        self._messages: deque[FromPrimary] = deque()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, message: FromPrimary) -> bool:
        """False: that is more than a primary sends."""
        if len(self._messages) >= self._max_messages or self._bytes >= self._max_bytes:
            return False
        self._messages.append(message)
        self._bytes += _message_bytes(message)
        return True

    def take(self) -> FromPrimary:
        message = self._messages.popleft()
        self._bytes -= _message_bytes(message)
        return message

    def clear(self) -> None:
        self._messages.clear()
        self._bytes = 0


def _message_bytes(message: FromPrimary) -> int:
    if isinstance(message, Numbered):
        return cost_bytes(message.change)
    return CHANGE_BYTES + (sum(map(len, message.names)) if isinstance(message, List) else 0)
