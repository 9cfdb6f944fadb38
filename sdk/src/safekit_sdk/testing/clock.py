"""An event loop whose time passes only when all wait: an hour of a checker's schedule takes milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualClock:
    """Seconds from 0. While `run` runs, `asyncio.sleep`, time-outs and `loop.time()` are by this clock: when every
    task waits, it jumps to the next sleeper, and sleepers of the same instant are woken in the order they lay down.

    Nothing real is waited for: threads are refused, and so is a wait that only a socket or a process could end."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.TimerHandle, Callable[[], object]]] = []
        self._serial = itertools.count()
        self._settling: list[asyncio.Future[None]] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run it to its end by this clock, as asyncio.run does by the real one."""
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(main)

    async def advance(self, by_s: float) -> None:
        """Let time pass; all that is due in it, its end included, happens before this returns."""
        await asyncio.sleep(by_s)
        await self.settle()

    async def settle(self) -> None:
        """Return when every other task waits for time to pass."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settling.append(settled)
        await settled

    def lay_down(self, handle: asyncio.TimerHandle, wake: Callable[[], object]) -> None:
        """For the loop: wake it at its time."""
        heapq.heappush(self._sleepers, (handle.when(), next(self._serial), handle, wake))

    def wake_due(self) -> bool:
        """For the loop: wake, in order, those whose time has come. Whether there were any."""
        woken = False
        while self._sleepers and self._sleepers[0][0] <= self.now_s:
            *_, handle, wake = heapq.heappop(self._sleepers)
            if not handle.cancelled():
                wake()
                woken = True
        return woken

    def all_wait(self) -> None:
        """For the loop: nothing can happen now, so settle, or pass time up to the next sleeper."""
        if self._settling:
            for settled in self._settling:
                if not settled.done():
                    settled.set_result(None)
            self._settling.clear()
            return
        while self._sleepers and self._sleepers[0][2].cancelled():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            raise RuntimeError("every task waits for something that virtual time cannot bring")
        self.now_s = max(self.now_s, self._sleepers[0][0])
        self.wake_due()


class _Selector(selectors.DefaultSelector):
    """Asks the kernel, and where the loop would sleep passes virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not self._clock.wake_due() and not ready and timeout != 0:
            self._clock.all_wait()
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual.now_s

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)

        def fire() -> None:
            if not handle.cancelled():
                callback(*args)

        self._virtual.lay_down(handle, lambda: self.call_soon(fire, context=context))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(round(self.time() + delay, 9), callback, *args, context=context)

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - asyncio's signature
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,  # noqa: ARG002
    ) -> asyncio.Future[T]:
        raise RuntimeError(f"virtual time does not wait for threads: {func!r}")
