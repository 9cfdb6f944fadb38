"""What the parts of a resync share: asking either side, and putting changes into the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from safekit_resource_rfs.changes import Change
from safekit_resource_rfs.effects import Effect, Send
from safekit_resource_rfs.fields import refuse
from safekit_resource_rfs.messages import Checksum, Checksummed, List, Listed, ListXattrs, XattrsListed
from safekit_resource_rfs.slots import LiveSlots, ResyncSlots

Question: TypeAlias = List | Checksum | ListXattrs
Answer: TypeAlias = Listed | Checksummed | XattrsListed
_ANSWERS: Final[dict[type, type]] = {List: Listed, Checksum: Checksummed, ListXattrs: XattrsListed}


class Stream(Protocol):
    """The sender, as a resync sees it."""

    live_slots: LiveSlots

    def emit(self, effect: Effect) -> None: ...

    def put(self, change: Change) -> int:
        """Its number."""

    def has_room(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a resync. Totals are what is known so far."""

    bytes_done: int = 0
    bytes_total: int = 0
    bytes_sent: int = 0
    """Of those done, what differed."""
    files_done: int = 0
    files_total: int = 0


class Desk:
    """Answers go to whoever asked, by id. An answer to what nobody asks any more is dropped."""

    def __init__(self, stream: Stream, ids: Iterator[int], bytes_per_s: float) -> None:
        self.stream = stream
        self.slots = ResyncSlots()
        self.bytes_done = self.bytes_total = self.bytes_sent = 0
        self.files_done = self.files_total = 0
        self.may_reserve = True
        """The secondary's file system can."""
        self._ids = ids
        self._asked: dict[int, Callable[..., None]] = {}
        self._asked_there: dict[int, tuple[type, Callable[..., None]]] = {}
        self._bytes_per_s = bytes_per_s
        self._allowance_bytes = bytes_per_s
        self._refilled_s: float | None = None

    def ask_here(self, make: Callable[[int], Effect], then: Callable[..., None]) -> None:
        number = next(self._ids)
        self._asked[number] = then
        self.stream.emit(make(number))

    def ask_there(self, make: Callable[[int], Question], then: Callable[..., None]) -> None:
        number = next(self._ids)
        question = make(number)
        self._asked_there[number] = (_ANSWERS[type(question)], then)
        self.stream.emit(Send(question))

    def answer(self, number: int, *values: Any) -> None:
        """From here."""
        then = self._asked.pop(number, None)
        if then is not None:
            then(*values)

    def answered(self, message: Answer) -> None:
        """From there. PeerError for what was not asked."""
        expected, then = self._asked_there.pop(message.id, (None, None))
        if then is None or type(message) is not expected:
            refuse(f"{type(message).__name__} {message.id} answers nothing that was asked")
        if isinstance(message, Listed):
            then(message.errno, message.entries, message.last)
        elif isinstance(message, Checksummed):
            then(message.errno, message.digests)
        else:
            then(message.errno, message.names)

    @property
    def may_copy(self) -> bool:
        return self.stream.has_room() and (not self._bytes_per_s or self._allowance_bytes > 0)

    def copied(self, count: int) -> None:
        self.bytes_sent += count
        self._allowance_bytes -= count

    def refill(self, now_s: float) -> None:
        """At most what a second may bring, so that a pause is not made up for."""
        if self._refilled_s is not None:
            grown = self._allowance_bytes + (now_s - self._refilled_s) * self._bytes_per_s
            self._allowance_bytes = min(grown, self._bytes_per_s)
        self._refilled_s = now_s

    @property
    def progress(self) -> Progress:
        return Progress(self.bytes_done, self.bytes_total, self.bytes_sent, self.files_done, self.files_total)
