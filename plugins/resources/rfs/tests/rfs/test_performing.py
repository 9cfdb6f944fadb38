"""A defect in one step keeps nothing else from being done, and ends the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs import effects
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.roles import a_pool
from safekit_resource_rfs.sender import Mode, Sender
from safekit_resource_rfs.sending import Sending
from safekit_resource_rfs.storage import Storage


class Line:
    """A connection of which only the end matters."""

    received: Any = None
    lost: Any = None
    is_closed = False

    def start(self) -> None:
        """Nothing comes."""

    def send(self, *_: Any, **__: Any) -> None:
        """Nobody listens."""

    def close(self) -> None:
        self.is_closed = True


@contextlib.asynccontextmanager
async def sending(tmp_path: Path) -> AsyncIterator[tuple[Sending, Line]]:
    root, storage = os.open(tmp_path, os.O_RDONLY), Storage(tmp_path / "durable")
    storage.load()
    replica, pool = Replica(root), a_pool(1, "all")
    means = Means(storage, Marks(), root, replica, replica, pool, pool, pool)
    machine = Sender(Durable(), means.marks, Mode.WRITE, "aa")
    machine.promote(1, "1", alone=True)
    made = Sending(machine, lambda: None, means=means, timeout_s=60.0, report=lambda *_: None, parted=lambda _: None)
    line = Line()
    try:
        made.act()
        await made.quiet()
        made.join(line)  # type: ignore[arg-type]
        yield made, line
    finally:
        await made.close()
        storage.close()
        replica.close()
        os.close(root)


def fail(*_: Any) -> None:
    raise KeyError("a defect")


async def after_it(line: Line, made: Sending) -> None:
    await asyncio.wait_for(made.quiet(), 10.0)
    await asyncio.sleep(0)
    assert line.is_closed and made.link is None


async def fail_after_work(made: Sending, line: Line) -> None:
    made.later(made._means.disk, lambda: 1, fail)


async def fail_at_an_effect(made: Sending, line: Line) -> None:
    answered: list[int] = []
    made.handlers[effects.Wake] = fail
    made.machine.emit(effects.Wake())
    made.machine.emit(effects.Release((lambda: answered.append(1),)))
    made.act()
    assert answered == [1]


async def fail_at_a_message(made: Sending, line: Line) -> None:
    made._decoder.feed = fail  # type: ignore[assignment, method-assign]
    line.received(memoryview(b"x"))


@pytest.mark.parametrize("defect", [fail_after_work, fail_at_an_effect, fail_at_a_message])
def test_a_defect_ends_the_connection_and_nothing_waits_for_ever(
    tmp_path: Path, defect: Callable[[Sending, Line], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with sending(tmp_path) as (made, line):
            await defect(made, line)
            await after_it(line, made)

    asyncio.run(run())


def test_an_answer_that_fails_keeps_no_other_from_its_application(tmp_path: Path) -> None:
    async def run() -> list[int]:
        answered: list[int] = []
        async with sending(tmp_path) as (made, _):
            made.machine.emit(effects.Release((fail, lambda: answered.append(1))))
            made.act()
        return answered

    assert asyncio.run(run()) == [1]


def test_a_role_that_ends_takes_no_connection_any_more(tmp_path: Path) -> None:
    async def run() -> Line:
        late = Line()
        async with sending(tmp_path) as (made, _):
            made.later(made._means.disk, lambda: None, lambda *_: made.join(late))  # type: ignore[arg-type]
            await made.close()
            assert made.link is None
        return late

    assert asyncio.run(run()).is_closed
