"""Checkers that are turned off say no more, even when they do not hear that they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from safekit.host import watching
from safekit.host.instances import Check
from safekit.host.watching import Watching
from safekit_sdk import Checker, CheckerConfig, Verdict


class Deaf(Checker[CheckerConfig], api=1):
    """Loses as many cancellations as it is told, and says down after each."""

    losses = 1

    async def watch(self) -> AsyncIterator[Verdict]:
        yield Verdict.up("seen")
        for _ in range(self.losses):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield Verdict.down("it was stopped")
        await asyncio.Event().wait()


@pytest.mark.parametrize("losses", [0, 1, 3, 100])
async def test_a_cancellation_that_is_lost_is_said_again_and_nothing_is_heard_of_it(
    losses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CANCEL_S", 0.02)
    checker = Deaf(CheckerConfig(), None)  # type: ignore[arg-type]
    checker.losses = losses
    said: list[str] = []
    made = Watching(
        [Check("deaf.it", "prim", checker)], lambda name, verdict: said.append(verdict.health.value), lambda *_: None
    )
    made.start("prim", [])
    for _ in range(100):
        if said:
            break
        await asyncio.sleep(0.01)
    await asyncio.wait_for(made.stop("prim"), 5)
    await asyncio.sleep(0.05)
    assert said == ["up", "init"]
    left = [task for task in asyncio.all_tasks() if "_watch" in repr(task.get_coro())]
    assert bool(left) is (losses == 100)
    for task in left:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
