"""The turns of the event loop, for the descriptors that have something to do in each of them.

They are served by the loop's selector itself, without handles and contexts, which cost more than the work; and what is
to go out together goes out at the end of a turn, without a turn of its own."""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, TypeVarTuple, Unpack

from safekit_resource_rfs.defects import end_process
from safekit_sdk.errors import InternalError

Call = Callable[[], None]
Arguments = TypeVarTuple("Arguments")
_EVENTS: Final = 16
"""Taken at a time."""
_WRITE: Final = ~select.EPOLLIN
_READ: Final = ~select.EPOLLOUT
"""An error is told to both."""


class _Hot:
    __slots__ = ("drain", "serve")

    def __init__(self, serve: Call) -> None:
        self.serve = serve
        self.drain: Call | None = None


class Turns(selectors.BaseSelector):
    """What it calls may use the loop like any callback of the loop. `running()` is that of the loop that runs. What the
    loop itself watches is a selector of its own, which is one of the descriptors here."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._cold = selectors.EpollSelector()
        self._cold_fd = self._cold.fileno()
        self._epoll.register(self._cold_fd, select.EPOLLIN)
        self._hot: dict[int, _Hot] = {}
        self._last: list[Call] = []
        self.is_wanted = False
        """The loop was asked for something since it waits."""

    def watch(self, fd: int, serve: Call, *, is_edge: bool = False) -> None:
        """Called whenever there is something to read; `is_edge`: once for each time that something comes. The loop's
        add_reader and add_writer are not for this one."""
        self._epoll.register(fd, select.EPOLLIN | (select.EPOLLET if is_edge else 0))
        self._hot[fd] = _Hot(serve)

    def await_room(self, fd: int, drain: Call | None) -> None:
        """Also called whenever it can be written to; None: not any more. Only of what is watched."""
        hot = self._hot[fd]
        if (drain is None) is not (hot.drain is None):
            self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if drain else 0))
        hot.drain = drain

    def unwatch(self, fd: int) -> None:
        if self._hot.pop(fd, None):
            self._epoll.unregister(fd)

    def at_end(self, call: Call) -> None:
        """Once, before the loop waits again."""
        self._last.append(call)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """It returns when the loop has something to do, by whatever was called here or from elsewhere."""
        self.is_wanted = False
        self._end()
        end_s = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.is_wanted:
                timeout = 0
            cold: list[tuple[selectors.SelectorKey, int]] = []
            ready = self._epoll.poll(timeout, _EVENTS)
            for fd, events, hot in [(fd, events, self._hot.get(fd)) for fd, events in ready]:
                if hot:
                    self._serve(fd, hot, events)
                elif fd == self._cold_fd:
                    cold = self._cold.select(0)
            self._end()
            if cold or self.is_wanted:
                return cold
            if end_s is not None and (timeout := end_s - time.monotonic()) <= 0:
                return cold

    def _serve(self, fd: int, hot: _Hot, events: int) -> None:
        """Unless one that was served before it has put an end to it: the number may mean another file then."""
        if events & _READ and self._hot.get(fd) is hot:
            _perform(hot.serve)
        if events & _WRITE and hot.drain and self._hot.get(fd) is hot:
            _perform(hot.drain)

    def _end(self) -> None:
        while self._last:
            calls, self._last = self._last, []
            for call in calls:
                _perform(call)

    # What the loop watches

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._cold.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._cold.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._cold.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._cold.get_map()

    def close(self) -> None:
        self._cold.close()
        self._epoll.close()


def _perform(call: Call) -> None:
    try:
        call()
    except Exception as error:
        end_process("in a turn of the loop", error)


class Loop(asyncio.SelectorEventLoop):
    """What the data path runs in. It ends the process at a defect in what it calls: what was amidst a step would go on
    with what is no state of it."""

    def __init__(self) -> None:
        self.turns = Turns()
        super().__init__(self.turns)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "handle" in context:  # of a callback; what a task or a transport has is told only
            end_process("in a callback of the loop", context["exception"])
        super().call_exception_handler(context)

    def call_soon(
        self, callback: Callable[[Unpack[Arguments]], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        self.turns.is_wanted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.turns.is_wanted = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        self.turns.is_wanted = True
        super().stop()


def running() -> Turns:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise InternalError("the data path runs in a loop that is not its own")
    return loop.turns
