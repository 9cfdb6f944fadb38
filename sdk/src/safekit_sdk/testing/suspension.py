"""Interrupts a coroutine at a chosen one of its suspensions, the points where a cancellation or a death can hit it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Interrupted(Generic[T]):
    """Awaits the inner coroutine and performs `interrupt` at its `at`-th suspension; with 0 it only counts them.

    An await that is ready at once, and does not give way to the event loop, is no suspension."""

    def __init__(self, inner: Awaitable[T], at: int = 0, interrupt: Callable[[], object] | None = None) -> None:
        self._inner = inner
        self._at = at
        self._interrupt = interrupt
        self.count = 0

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._inner.__await__()
        forward: Callable[[], Any] = lambda: next(steps)  # noqa: E731 - what goes in next: a value or an exception
        while True:
            try:
                waited_for = forward()
            except StopIteration as end:
                result: T = end.value
                return result
            self.count += 1
            if self.count == self._at and self._interrupt:
                self._interrupt()
            try:
                sent = yield waited_for
            except BaseException as error:
                forward = _thrower(steps, error)
            else:
                forward = _sender(steps, sent)


def _thrower(steps: Generator[Any, Any, T], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


def _sender(steps: Generator[Any, Any, T], value: Any) -> Callable[[], Any]:
    return lambda: steps.send(value)


async def count_suspensions(work: Awaitable[Any]) -> int:
    """Perform the work to its end and tell how often it suspended."""
    counted = Interrupted(work)
    await counted
    return counted.count


async def cancelled_at(at: int, work: Awaitable[Any]) -> bool:
    """Perform the work and cancel its task at its `at`-th suspension. Whether it came to that."""

    async def perform() -> None:
        await interrupted

    interrupted = Interrupted(work, at, _cancel_this_task)
    task = asyncio.create_task(perform())
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return interrupted.count >= at


def _cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 1 to count, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (most - 1)) for step in range(most)})
