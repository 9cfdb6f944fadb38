"""What every checker passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from safekit_sdk.checker import Checker
from safekit_sdk.testing.conformance.plugin import PluginConformance, collect
from safekit_sdk.testing.conformance.watched import Watched
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.testing.stall import watched_loop
from safekit_sdk.testing.suspension import cancelled_at, count_suspensions, spread
from safekit_sdk.verdict import Health, Verdict

STALL_S = 0.5
"""How long a plugin may keep the event loop from turning: a module's plugins share it with the host's heartbeat."""
_TRIES = 3
_CANCELLATIONS = 12
_CHECK_TESTS = (
    "test_it_says_up_when_the_thing_is_up",
    "test_it_says_down_with_a_reason_when_the_thing_is_down",
    "test_it_sees_a_change_in_both_directions",
    "test_a_check_does_not_block_the_event_loop",
    "test_a_check_leaves_nothing_behind",
    "test_a_check_can_be_cancelled_at_any_point_and_leaves_nothing_behind",
    "test_a_check_that_was_cancelled_can_be_followed_by_another",
)
_WATCH_TESTS = (
    "test_a_watch_says_down_and_up_again_when_the_thing_changes",
    "test_a_watch_is_cancelled_at_once_and_leaves_nothing_behind",
)
_WATCH_ALONE_TESTS = ("test_a_watch_without_checks_tells_the_health_that_it_finds",)
_SILENCE_TESTS = ("test_a_silent_thing_is_told_within_the_timeout_without_blocking",)


class CheckerConformance(PluginConformance):
    """A subclass gives `plugin`, `good_config` (or the fixture `settings`), `make_up` and `make_down`."""

    plugin: ClassVar[type[Checker[Any]]]
    group = "safekit.checkers"
    watch_patience_s: ClassVar[float] = 2.0
    """How long a watch may take to see a change before the change is made again."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        plugin = getattr(cls, "plugin", None)
        if plugin is None:
            return
        checks, watches = plugin.checks(), plugin.watches()
        collect(cls, _CHECK_TESTS, checks)
        collect(cls, _SILENCE_TESTS, checks and cls.make_silent is not CheckerConformance.make_silent)
        collect(cls, _WATCH_TESTS, watches)
        collect(cls, _WATCH_ALONE_TESTS, watches and not checks)

    async def make_up(self, config: Any) -> None:
        """Make the watched thing good; it may be already. Runs in the test's event loop."""
        raise NotImplementedError("say how the thing comes up: async def make_up(self, config)")

    async def make_down(self, config: Any) -> None:
        """Make the watched thing bad in the way the checker is for; it may be already."""
        raise NotImplementedError("say how the thing goes down: async def make_down(self, config)")

    async def make_silent(self, config: Any) -> None:
        """Make the thing accept and never answer. Optional; where it is given, the checker is tested against it."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def checker(self, config: Any, context: RecordingContext) -> AsyncIterator[Checker[Any]]:
        """A checker, closed afterwards."""
        checker: Checker[Any] = self.made(config, context)
        try:
            yield checker
        finally:
            await checker.close()

    async def look(self, checker: Checker[Any]) -> Verdict:
        """One check as the host does it; TimeoutError after the configured `timeout`."""
        async with asyncio.timeout(checker.config.timeout.seconds):
            verdict = await checker.check()
        if isinstance(verdict, Verdict):
            self.assert_facts_are_told(verdict)
        return verdict

    def assert_facts_are_told(self, verdict: Verdict) -> None:
        """Each fact is one that the class says the meaning of."""
        unknown = set(verdict.facts) - set(self.plugin.facts)
        assert "*" in self.plugin.facts or not unknown, f"the class does not tell in `facts` what {unknown} mean"

    # -- check

    def test_it_checks_or_watches(self) -> None:
        assert self.plugin.checks() or self.plugin.watches(), "a checker implements check, watch or both"

    @pytest.mark.asyncio
    async def test_it_says_up_when_the_thing_is_up(self, config: Any, context: RecordingContext) -> None:
        await self.make_up(config)
        async with self.checker(config, context) as checker:
            verdict = await self.look(checker)
        assert isinstance(verdict, Verdict)
        assert verdict.health is Health.UP, verdict

    @pytest.mark.asyncio
    async def test_it_says_down_with_a_reason_when_the_thing_is_down(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_down(config)
        async with self.checker(config, context) as checker:
            verdict = await self.look(checker)
        assert isinstance(verdict, Verdict)
        assert verdict.health is Health.DOWN, verdict
        assert verdict.reason.strip(), "a verdict down says what was seen; it is what the operator reads"
        assert "\n" not in verdict.reason, "the reason is one line"

    @pytest.mark.asyncio
    async def test_it_sees_a_change_in_both_directions(self, config: Any, context: RecordingContext) -> None:
        async with self.checker(config, context) as checker:
            seen = []
            for change in (self.make_up, self.make_down, self.make_up):
                await change(config)
                seen.append((await self.look(checker)).health)
        assert seen == [Health.UP, Health.DOWN, Health.UP]

    @pytest.mark.asyncio
    async def test_a_check_does_not_block_the_event_loop(self, config: Any, context: RecordingContext) -> None:
        for change in (self.make_up, self.make_down):
            await change(config)
            async with self.checker(config, context) as checker:
                await self.assert_no_stall(checker)

    async def assert_no_stall(self, checker: Checker[Any]) -> None:
        """One of a few checks keeps the loop turning: a busy machine stalls one, a blocking checker all."""
        for _ in range(_TRIES):
            async with watched_loop() as stall:
                await self.look(checker)
            if stall.longest_s < STALL_S:
                return
        pytest.fail(f"the event loop stood still for {stall.longest_s:.2f} s in\n{stall.where}")

    @pytest.mark.asyncio
    async def test_a_check_leaves_nothing_behind(self, config: Any, context: RecordingContext) -> None:
        for change in (self.make_up, self.make_down):
            await change(config)
            await self._check_and_close(config, context)
            before = Belongings.now()
            await self._check_and_close(config, context)
            assert await left_since(before) == []

    async def _check_and_close(self, config: Any, context: RecordingContext) -> None:
        async with self.checker(config, context) as checker:
            await self.look(checker)

    @pytest.mark.asyncio
    async def test_a_check_can_be_cancelled_at_any_point_and_leaves_nothing_behind(
        self, config: Any, context: RecordingContext
    ) -> None:
        for change in (self.make_up, self.make_down):
            await change(config)
            async with self.checker(config, context) as checker:
                points = await count_suspensions(checker.check())
            for point in spread(points, _CANCELLATIONS):
                before = Belongings.now()
                async with self.checker(config, context) as checker:
                    await cancelled_at(point, checker.check())
                assert await left_since(before) == [], f"cancelled at its {point}. suspension of {points}"

    @pytest.mark.asyncio
    async def test_a_check_that_was_cancelled_can_be_followed_by_another(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_up(config)
        async with self.checker(config, context) as checker:
            await cancelled_at(1, checker.check())
            assert (await self.look(checker)).health is Health.UP

    @pytest.mark.asyncio
    async def test_closing_twice_and_without_a_check_is_no_error(self, config: Any, context: RecordingContext) -> None:
        before = Belongings.now()
        checker: Checker[Any] = self.made(config, context)
        await checker.close()
        await checker.close()
        assert await left_since(before) == []

    # -- silence

    @pytest.mark.asyncio
    async def test_a_silent_thing_is_told_within_the_timeout_without_blocking(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_silent(config)
        before = Belongings.now()
        async with self.checker(config, context) as checker:
            await self.assert_no_stall(checker)
            verdict = await self.look(checker)
        assert verdict.health is Health.DOWN, verdict
        assert await left_since(before) == []

    # -- watch

    @pytest.mark.asyncio
    async def test_a_watch_says_down_and_up_again_when_the_thing_changes(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_up(config)
        async with self.checker(config, context) as checker, Watched(checker) as watched:
            await self._change_until(watched, self.make_down, self.make_up, Health.DOWN, config)
            await self._change_until(watched, self.make_up, self.make_down, Health.UP, config)
        assert all(verdict.reason.strip() for verdict in watched.said if verdict.health is Health.DOWN)
        for verdict in watched.said:
            self.assert_facts_are_told(verdict)

    async def _change_until(self, watched: Watched, change: Any, back: Any, wanted: Health, config: Any) -> None:
        """A change that came before the watch listened goes unseen: change back and try again, a few times."""
        for attempt in range(5):
            if attempt:
                await back(config)
            await change(config)
            if await watched.says(wanted, self.watch_patience_s * (attempt + 1)):
                return
        pytest.fail(f"the watch never said {wanted.value}; it said {[said.health.value for said in watched.said]}")

    @pytest.mark.asyncio
    async def test_a_watch_without_checks_tells_the_health_that_it_finds(
        self, config: Any, context: RecordingContext
    ) -> None:
        for change, health in ((self.make_up, Health.UP), (self.make_down, Health.DOWN)):
            await change(config)
            async with self.checker(config, context) as checker, Watched(checker) as watched:
                told = await watched.says(health, 5 * self.watch_patience_s)
            assert told, f"{health.value} was not told; it said {watched.said}"

    @pytest.mark.asyncio
    async def test_a_watch_is_cancelled_at_once_and_leaves_nothing_behind(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.make_up(config)
        for turns in (0, 1, 2, 5, 20):
            before = Belongings.now()
            async with self.checker(config, context) as checker, Watched(checker):
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert await left_since(before) == [], f"cancelled {turns} turns after its start"
