"""Checkers that hang, fail or are turned off: none is down for it, none is looked at twice at a time, none is heard
after its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from safekit.host import watching
from safekit.host.instances import Check
from safekit.host.watching import Watching
from safekit_sdk import Checker, CheckerConfig, Duration, Health, Verdict
from safekit_sdk.testing import VirtualClock


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


class Hanging(Checker[CheckerConfig], api=1):
    """Hangs in its looks as it is told: until it is cancelled, or whatever is said to it. At first it is up."""

    def __init__(self, config: CheckerConfig, hangs: bool, deaf: bool = False) -> None:
        super().__init__(config, None)  # type: ignore[arg-type]
        self.hangs = hangs
        self.deaf = deaf
        self.began_s: list[float] = []
        self.at_once = 0
        self.released = asyncio.Event()

    async def check(self) -> Verdict:
        self.began_s.append(asyncio.get_running_loop().time())
        self.at_once += 1
        assert self.at_once == 1
        try:
            if self.hangs and len(self.began_s) > 1:
                await self._hang()
            return Verdict.up("seen")
        finally:
            self.at_once -= 1

    async def _hang(self) -> None:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError) if self.deaf else contextlib.nullcontext():
                await self.released.wait()


@contextlib.asynccontextmanager
async def on(*checkers: Checker[CheckerConfig]) -> AsyncIterator[list[Verdict]]:
    """They are looked at meanwhile; what they said."""
    said: list[Verdict] = []
    checks = [Check(f"it.{number}", "prim", checker) for number, checker in enumerate(checkers)]
    made = Watching(checks, lambda name, verdict: said.append(verdict), lambda *_: None)
    made.start("prim", [])
    yield said
    await made.close()


class Counting(Checker[CheckerConfig]):
    async def check(self) -> Verdict:
        self.count = getattr(self, "count", 0) + 1
        return Verdict.up("fine", looks=self.count)


def test_what_is_measured_while_the_health_stays_is_told_at_most_once_a_second() -> None:
    clock = VirtualClock()

    async def main() -> None:
        said: list[Verdict] = []
        measured: list[Verdict] = []
        checker = Counting(CheckerConfig(interval=Duration(0.25), timeout=Duration(1)), None)  # type: ignore[arg-type]
        made = Watching(
            [Check("it.0", "prim", checker)],
            lambda _, verdict: said.append(verdict),
            lambda *_: None,
            lambda _, verdict: measured.append(verdict),
        )
        made.start("prim", [])
        await asyncio.sleep(10)
        assert [verdict.health.value for verdict in said] == ["up"]
        assert 8 <= len(measured) <= 10
        assert measured[-1].facts["looks"] > 30
        await made.close()

    clock.run(main())


SETTINGS = {"interval": Duration(10), "timeout": Duration(5)}


@pytest.mark.parametrize(("fall", "hung"), [(1, 1), (3, 3)])
def test_a_check_that_hangs_is_cancelled_and_unknown_and_never_down(fall: int, hung: int) -> None:
    clock = VirtualClock()

    async def main() -> None:
        checker = Hanging(CheckerConfig(**SETTINGS, fall=fall), hangs=True)
        async with on(checker) as said:
            await clock.advance(10 * hung + 5.5)
            assert [verdict.health for verdict in said] == [Health.UP, Health.UNKNOWN]
            assert "took longer than 5 s" in said[-1].reason
            await clock.advance(100)
            assert Health.DOWN not in {verdict.health for verdict in said}
        assert checker.at_once == 0

    clock.run(main())


def test_a_check_that_heeds_no_cancellation_is_not_begun_again_before_it_has_ended() -> None:
    clock = VirtualClock()

    async def main() -> None:
        checker = Hanging(CheckerConfig(**SETTINGS), hangs=True, deaf=True)
        async with on(checker) as said:
            await clock.advance(60)
            assert (len(checker.began_s), said[-1].health) == (2, Health.UNKNOWN)
            checker.hangs = False
            checker.released.set()
            await clock.advance(10)
            assert (len(checker.began_s), said[-1].health) == (3, Health.UP)

    clock.run(main())


def test_one_that_hangs_holds_up_no_other() -> None:
    clock = VirtualClock()

    async def main() -> None:
        well = Hanging(CheckerConfig(**SETTINGS), hangs=False)
        hangs = Hanging(CheckerConfig(**SETTINGS), hangs=True, deaf=True)
        async with on(hangs, well):
            await clock.advance(100)
            assert len(hangs.began_s) == 2
            assert len(well.began_s) in (10, 11)  # as chance spread them
            hangs.released.set()

    clock.run(main())


def test_checkers_that_begin_together_look_at_different_times() -> None:
    """The first look is soon all the same, and none is ever later than the interval after the one before."""
    clock = VirtualClock()

    async def main() -> None:
        many = [Hanging(CheckerConfig(**SETTINGS), hangs=False) for _ in range(100)]
        async with on(*many):
            await clock.advance(50)
        assert all(checker.began_s[0] <= watching.SPREAD_MAX_S for checker in many)
        pairs = [pair for checker in many for pair in itertools.pairwise(checker.began_s)]
        assert max(after - before for before, after in pairs) <= 10.001
        phases = sorted(checker.began_s[3] for checker in many)
        assert phases[-1] - phases[0] > 2.5

    clock.run(main())


class Cancelled(Checker[CheckerConfig], api=1):
    """Raises what only the loop should."""

    async def check(self) -> Verdict:
        raise asyncio.CancelledError


def test_a_check_that_cancels_itself_is_unknown_and_looked_at_again() -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with on(Cancelled(CheckerConfig(**SETTINGS), None)) as said:  # type: ignore[arg-type]
            await clock.advance(15)
            assert [verdict.health for verdict in said] == [Health.UNKNOWN]

    clock.run(main())
