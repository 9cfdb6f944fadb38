"""Looks that hang, and looks that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from safekit_checker_errd.finding import BlindError
from safekit_checker_errd.scanner import Scanner


async def test_a_look_that_hangs_is_unknown_and_the_next_one_does_not_pile_up() -> None:
    released = threading.Event()
    scanner = Scanner(lambda: released.wait(60))
    with pytest.raises(BlindError, match="longer than"):
        await scanner.scan(0.05)
    with pytest.raises(BlindError, match="not come back"):
        await scanner.scan(60)
    released.set()
    for _ in range(1000):
        with contextlib.suppress(BlindError):
            assert await scanner.scan(60) is True
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the scanner stays blind")


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    """A watch whose cancellation is lost goes on for ever."""
    released = threading.Event()
    task = asyncio.create_task(Scanner(lambda: released.wait(60)).scan(60))
    await asyncio.sleep(0)
    (looking,) = (thread for thread in threading.enumerate() if thread.name == "errd-scan")
    released.set()
    looking.join(60)
    asyncio.get_running_loop().call_soon(task.cancel)  # just behind the answer, which waits for the loop to turn
    await asyncio.wait({task})
    assert task.cancelled()
