"""Durable writes of a state machine, one after the other, each with what may follow when it is on the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from safekit_resource_rfs.effects import AppendMarks, Effect, ReplaceMarks, Store
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks, Place

Step = Callable[[Durable], Durable]
Then = Callable[[], None]


class DurableState:
    """`value` is what the disk has."""

    def __init__(self, durable: Durable, emit: Callable[[Effect], None], ids: Iterator[int]) -> None:
        self.value = durable
        self._emit = emit
        self._ids = ids
        self._queue: deque[tuple[Step, Then]] = deque()
        self._writing: tuple[int, Durable, Then] | None = None

    @property
    def is_busy(self) -> bool:
        return self._writing is not None

    def change(self, step: Step, then: Then) -> None:
        """`step` is applied to what the disk has when its turn comes; `then` follows when that is durable."""
        self._queue.append((step, then))
        self._go_on()

    def stored(self, number: int) -> None:
        if self._writing is None or self._writing[0] != number:
            return
        _, self.value, then = self._writing
        self._writing = None
        then()
        self._go_on()

    def retry(self) -> None:
        """What the disk refused. The answer to an earlier write of it counts for nothing."""
        if self._writing is not None:
            number = next(self._ids)
            self._writing = (number, *self._writing[1:])
            self._emit(Store(number, self._writing[1]))

    def _go_on(self) -> None:
        if self._writing is None and self._queue:
            step, then = self._queue.popleft()
            number = next(self._ids)
            self._writing = (number, step(self.value), then)
            self._emit(Store(number, self._writing[1]))


class MarksLog:
    """The marks and their file: appended in groups, replaced after a checkpoint, never both at once."""

    def __init__(self, marks: Marks, emit: Callable[[Effect], None], ids: Iterator[int]) -> None:
        self.marks = marks
        self._emit = emit
        self._ids = ids
        self._writing: tuple[int, Then, Callable[[int], Effect]] | None = None
        """Its number, what follows, and what is asked for under another number when it has to be done again."""
        self._replacing: deque[Then] = deque()
        self._waiting: list[tuple[Place, Then]] = []
        self._clears = False
        """Until it is on the disk that old marks are gone, no new checkpoint may begin."""

    def touch(self, places: Iterable[Place], now_ns: int) -> bool:
        """Whether all are durable."""
        ready = self.marks.touch(places, now_ns)
        if not ready:
            self._go_on()
        return ready

    @property
    def is_clearing(self) -> bool:
        return self._clears

    def when_durable(self, place: Place, then: Then) -> None:
        if self.touch((place,), self.marks.latest_ns):
            then()
        else:
            self._waiting.append((place, then))

    def mark_everything(self) -> None:
        self.marks.mark_everything()
        self._go_on()

    def add_found(self, places: Iterable[Place] | None, now_ns: int) -> None:
        self.marks.add_found(places, now_ns)
        self._go_on()

    def clear(self, then: Then) -> None:
        """What was marked before the checkpoint."""
        self._clears = True
        self._replacing.append(then)
        self._go_on()

    def stored(self, number: int) -> bool:
        """Whether that was what was asked for."""
        if self._writing is None or self._writing[0] != number:
            return False
        then = self._writing[1]
        self._writing = None
        then()
        waiting, self._waiting = self._waiting, []
        for place, follow in waiting:
            self.when_durable(place, follow)
        self._go_on()
        return True

    def retry(self) -> None:
        """What the disk refused. The answer to an earlier write of it counts for nothing."""
        if self._writing is not None:
            self._write(*self._writing[1:])

    def _write(self, then: Then, make: Callable[[int], Effect]) -> None:
        number = next(self._ids)
        self._writing = (number, then, make)
        self._emit(make(number))

    @property
    def is_busy(self) -> bool:
        return self._writing is not None

    def _cleared(self, then: Then) -> None:
        self._clears = False
        then()

    def _go_on(self) -> None:
        if self._writing is not None:
            return
        if self._replacing:
            then = partial(self._cleared, self._replacing.popleft())
            self._write(then, lambda number: ReplaceMarks(number, self.marks.clear()))
            return
        lines = self.marks.begin_append()
        if lines:
            self._write(self.marks.end_append, lambda number: AppendMarks(number, lines))
