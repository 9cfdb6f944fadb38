"""What every resource passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest

from safekit_sdk.cgroup import cgroup_members
from safekit_sdk.plugin import ModuleKind
from safekit_sdk.process import Completed, run
from safekit_sdk.procfs import describe
from safekit_sdk.resource import Resource, ResourceState, Transition
from safekit_sdk.testing.conformance.checker import STALL_S
from safekit_sdk.testing.conformance.plugin import PluginConformance, collect
from safekit_sdk.testing.conformance.watched import Watched
from safekit_sdk.testing.context import RecordingContext, a_context
from safekit_sdk.testing.groups import a_cgroup
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.testing.runner import call, command
from safekit_sdk.testing.stall import watched_loop
from safekit_sdk.testing.suspension import cancelled_at, count_suspensions, spread
from safekit_sdk.units import Scope
from safekit_sdk.verdict import Health

_TRIES = 3
_INTERRUPTIONS = 8
_DEATHS = 4
_AT_THE_END = 1_000_000
_FAILED_START_TESTS = ("test_what_a_failed_start_left_is_gone_after_a_stop",)
_PROMOTE_TESTS = ("test_promotion_and_demotion_can_be_repeated_and_undone",)
_WATCH_TESTS = ("test_a_watch_says_down_when_the_started_resource_breaks",)
_BREAK_TESTS = ("test_what_broke_can_be_stopped_and_started_again",)


class ResourceConformance(PluginConformance):
    """A subclass gives `plugin`, `good_config` (or the fixture `settings`), `traces`, and a start that fails."""

    plugin: ClassVar[type[Resource[Any]]]
    group = "safekit.resources"
    watch_patience_s: ClassVar[float] = 3.0
    """How long a watch may take to see that the resource broke, before it is broken again."""
    with_cgroup: ClassVar[bool] = True
    """Whether the context has a control group, as a host gives it where the machine has a writable one."""
    start_cannot_fail: ClassVar[str] = ""
    """Why there is no `failing_config`, for the rare resource whose start cannot fail."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        plugin = getattr(cls, "plugin", None)
        if plugin is None:
            return
        watches = plugin.watches()
        collect(cls, _FAILED_START_TESTS, not cls.start_cannot_fail)
        collect(cls, _PROMOTE_TESTS, plugin.promotes())
        collect(cls, _WATCH_TESTS, watches)
        collect(cls, _BREAK_TESTS, watches or cls.make_broken is not ResourceConformance.make_broken)

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        """What of the started resource is on the machine now, seen in another way than the plugin's own `status`:
        process ids, addresses, mounts, files. Empty when it is stopped. The same while nothing is started again."""
        raise NotImplementedError("say what a started resource is: async def traces(self, config, context)")

    @pytest.fixture
    def failing_config(self) -> Mapping[str, Any]:
        """Override it: settings with which a start raises. The fixture may change the machine as well."""
        pytest.fail(
            "say how a start fails: override the fixture failing_config, or give the reason in start_cannot_fail"
        )

    async def make_broken(self, config: Any, context: RecordingContext) -> None:
        """Break the started resource from outside: kill its process, take its address away. Optional, unless the
        resource watches itself."""
        raise NotImplementedError("say how the started resource breaks: async def make_broken(self, config, context)")

    # -- the means

    @pytest.fixture
    def cgroup(self) -> Iterator[Path | None]:
        """The module's own, without members while nothing is started."""
        with a_cgroup() if self.with_cgroup else contextlib.nullcontext() as path:
            yield path

    @pytest.fixture
    def context(self, tmp_path: Path, config: Any, cgroup: Path | None) -> RecordingContext:
        return a_context(tmp_path, kind=self.kind, name=self.plugin.ident(config), cgroup=cgroup)

    @contextlib.asynccontextmanager
    async def swept(self, config: Any, context: RecordingContext) -> AsyncIterator[None]:
        """However the block ends, nothing of the resource is on the machine afterwards."""
        try:
            yield
        finally:
            await self.perform("force-stop", config, context)
        assert not list(await self.traces(config, context)), "left after a forced stop"

    async def perform(self, verb: str, config: Any, context: RecordingContext) -> None:
        """The call on a new instance, within the time that the configuration gives it."""
        async with asyncio.timeout(_bound_s(config, verb)):
            await call(self.made(config, context), verb)

    async def state(self, config: Any, context: RecordingContext) -> ResourceState:
        """As a new instance sees it."""
        status = await self.made(config, context).status()
        assert isinstance(status.state, ResourceState), status
        return ResourceState(status.state)

    async def elsewhere(self, verb: str, config: Any, context: RecordingContext, die_at: int = 0) -> Completed:
        """The call in a process of its own, which ends after it or dies in it."""
        argv = [*self.runner_prefix, *command(self.plugin, config, context, verb, die_at)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return await run(argv, timeout_s=_bound_s(config, verb) + 30, env=environment)

    async def assert_stopped(self, config: Any, context: RecordingContext, when: str) -> None:
        left = sorted(await self.traces(config, context))
        assert not left, f"left {when}: {', '.join(left)}"
        running = cgroup_members(context.cgroup)
        assert not running, f"still running {when}: {describe(running)}"
        assert await self.state(config, context) is ResourceState.STOPPED, when

    # -- start and stop

    @pytest.mark.asyncio
    async def test_it_starts_and_stops(self, config: Any, context: RecordingContext) -> None:
        await self.assert_stopped(config, context, "before the first start")
        async with self.swept(config, context):
            for _ in range(2):
                await self.perform("start", config, context)
                assert await self.state(config, context) is ResourceState.STARTED
                assert list(await self.traces(config, context)), "traces() sees nothing of a started resource"
                await self.perform("stop", config, context)
                await self.assert_stopped(config, context, "after a stop")

    @pytest.mark.asyncio
    async def test_a_second_start_changes_nothing(self, config: Any, context: RecordingContext) -> None:
        async with self.swept(config, context):
            await self.perform("start", config, context)
            first = sorted(await self.traces(config, context))
            await self.perform("start", config, context)
            assert sorted(await self.traces(config, context)) == first
            assert await self.state(config, context) is ResourceState.STARTED

    @pytest.mark.asyncio
    @pytest.mark.parametrize("verb", ["stop", "force-stop"])
    async def test_a_stop_without_a_start_and_a_second_stop_are_no_error(
        self, config: Any, context: RecordingContext, verb: str
    ) -> None:
        async with self.swept(config, context):
            await self.perform(verb, config, context)
            await self.perform("start", config, context)
            for _ in range(2):
                await self.perform(verb, config, context)
                await self.assert_stopped(config, context, f"after {verb}")

    @pytest.mark.asyncio
    async def test_a_look_at_the_status_changes_nothing(self, config: Any, context: RecordingContext) -> None:
        async with self.swept(config, context):
            for verb in ("stop", "start"):
                await self.perform(verb, config, context)
                before = sorted(await self.traces(config, context))
                states = {await self.state(config, context) for _ in range(2)}
                assert (len(states), sorted(await self.traces(config, context))) == (1, before)

    @pytest.mark.asyncio
    async def test_a_change_of_state_that_is_told_changes_nothing(self, config: Any, context: RecordingContext) -> None:
        words = ("WAIT", "ALONE") if self.kind == "mirror" else ("WAIT", "UP")
        async with self.swept(config, context):
            await self.made(config, context).transition(Transition(*words, "start", 1))
            await self.assert_stopped(config, context, "after a transition was told")

    # -- in other processes

    @pytest.mark.asyncio
    async def test_one_process_starts_another_looks_a_third_stops(self, config: Any, context: RecordingContext) -> None:
        async with self.swept(config, context):
            steps = (("start", "started"), ("status", "started"), ("stop", "stopped"), ("status", "stopped"))
            for verb, state in steps:
                done = await self.elsewhere(verb, config, context)
                assert done.ok, f"{verb}: {done.why()}"
                assert json.loads(done.output.splitlines()[-1])["state"] == state, f"after {verb}"
            await self.assert_stopped(config, context, "after a stop in another process")

    @pytest.mark.asyncio
    async def test_a_forced_stop_in_a_new_process_ends_what_a_killed_one_had_started(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.swept(config, context):
            killed = await self.elsewhere("start", config, context, _AT_THE_END)
            assert killed.returncode == -signal.SIGKILL, killed.why()
            done = await self.elsewhere("force-stop", config, context)
            assert done.ok, done.why()
            await self.assert_stopped(config, context, "after a forced stop")

    @pytest.mark.asyncio
    async def test_a_process_killed_in_the_midst_of_a_start_leaves_nothing_after_a_forced_stop(
        self, config: Any, context: RecordingContext
    ) -> None:
        points = await self._suspensions_of_a_start(config, context)
        for point in spread(points, _DEATHS):
            async with self.swept(config, context):
                killed = await self.elsewhere("start", config, context, point)
                assert killed.returncode == -signal.SIGKILL, killed.why()
                await self.perform("force-stop", config, context)
                await self.assert_stopped(config, context, f"after a death at suspension {point} of {points}")

    # -- failures and interruptions

    @pytest.mark.asyncio
    async def test_what_a_failed_start_left_is_gone_after_a_stop(
        self, failing_config: Mapping[str, Any], context: RecordingContext
    ) -> None:
        config = self.plugin.config_model.model_validate(failing_config)
        async with self.swept(config, context):
            with pytest.raises(Exception) as failure:
                await self.perform("start", config, context)
            assert str(failure.value).strip() or isinstance(failure.value, TimeoutError), "a failed start says why"
            assert await self.state(config, context) is not ResourceState.STARTED
            await self.perform("stop", config, context)
            await self.assert_stopped(config, context, "after a failed start and a stop")

    @pytest.mark.asyncio
    async def test_a_start_can_be_cancelled_at_any_point_and_stopped(
        self, config: Any, context: RecordingContext
    ) -> None:
        points = await self._suspensions_of_a_start(config, context)
        for point in spread(points, _INTERRUPTIONS):
            async with self.swept(config, context):
                before = Belongings.now(zombies=False)
                await cancelled_at(point, self.made(config, context).start())
                await self.perform("stop", config, context)
                when = f"after a start cancelled at suspension {point} of {points} and a stop"
                await self.assert_stopped(config, context, when)
                assert await left_since(before, zombies=False) == [], when

    @pytest.mark.asyncio
    async def test_a_stop_can_be_cancelled_at_any_point_and_forced(
        self, config: Any, context: RecordingContext
    ) -> None:
        await self.perform("start", config, context)
        points = await count_suspensions(self.made(config, context).stop(False))
        for point in spread(points, _INTERRUPTIONS):
            async with self.swept(config, context):
                await self.perform("start", config, context)
                await cancelled_at(point, self.made(config, context).stop(False))
                await self.perform("force-stop", config, context)
                await self.assert_stopped(config, context, f"after a stop cancelled at {point} of {points}, forced")

    async def _suspensions_of_a_start(self, config: Any, context: RecordingContext) -> int:
        async with self.swept(config, context):
            return await count_suspensions(self.made(config, context).start())

    @pytest.mark.asyncio
    async def test_it_leaves_no_descriptor_task_or_child(self, config: Any, context: RecordingContext) -> None:
        await self._round(config, context)
        before = Belongings.now(zombies=False)
        await self._round(config, context)
        assert await left_since(before, zombies=False) == []

    async def _round(self, config: Any, context: RecordingContext) -> None:
        async with self.swept(config, context):
            for verb in ("start", "status", "stop"):
                await self.perform(verb, config, context)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("verb", ["start", "status", "stop"])
    async def test_a_call_does_not_block_the_event_loop(
        self, config: Any, context: RecordingContext, verb: str
    ) -> None:
        for _ in range(_TRIES):
            async with self.swept(config, context):
                if verb != "start":
                    await self.perform("start", config, context)
                async with watched_loop() as stall:
                    await self.perform(verb, config, context)
            if stall.longest_s < STALL_S:
                return
        pytest.fail(f"the event loop stood still for {stall.longest_s:.2f} s in\n{stall.where}")

    # -- what some resources do

    @pytest.mark.asyncio
    async def test_promotion_and_demotion_can_be_repeated_and_undone(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.swept(config, context):
            for verb in ("start", "promote", "promote", "demote", "demote", "promote", "force-demote"):
                await self.perform(verb, config, context)
                assert await self.state(config, context) is ResourceState.STARTED, f"after {verb}"
            await self.perform("stop", config, context)
            await self.assert_stopped(config, context, "after a promotion, a demotion and a stop")

    @pytest.mark.asyncio
    async def test_what_broke_can_be_stopped_and_started_again(self, config: Any, context: RecordingContext) -> None:
        async with self.swept(config, context):
            await self.perform("start", config, context)
            await self.make_broken(config, context)
            await self._status_sees_it(config, context)
            await self.perform("stop", config, context)
            await self.assert_stopped(config, context, "after it broke and a stop")
            await self.perform("start", config, context)
            assert await self.state(config, context) is ResourceState.STARTED

    async def _status_sees_it(self, config: Any, context: RecordingContext) -> None:
        """Soon: what was killed may take a moment to be gone."""
        for _ in range(500):
            if await self.state(config, context) is not ResourceState.STARTED:
                return
            await asyncio.sleep(self.watch_patience_s / 500)
        pytest.fail("status() does not see that it broke")

    @pytest.mark.asyncio
    async def test_a_watch_says_down_when_the_started_resource_breaks(
        self, config: Any, context: RecordingContext
    ) -> None:
        async with self.swept(config, context):
            await self.perform("start", config, context)
            before = Belongings.now(zombies=False)
            async with Watched(self.made(config, context)) as watched:
                await self._break_until_told(watched, config, context)
            assert [left for left in await left_since(before, zombies=False) if left.startswith("task")] == []
        downs = [verdict for verdict in watched.said if verdict.health is Health.DOWN]
        assert all(verdict.reason.strip() for verdict in downs), "a verdict down says what was seen"

    async def _break_until_told(self, watched: Watched, config: Any, context: RecordingContext) -> None:
        """A break that came before the watch listened may go unseen: repair and break again, a few times."""
        for attempt in range(1, 5):
            await self.make_broken(config, context)
            if await watched.says(Health.DOWN, self.watch_patience_s * attempt):
                return
            await self.perform("stop", config, context)
            await self.perform("start", config, context)
        pytest.fail(f"the watch did not say down; it said {watched.said}")

    def test_its_instances_have_states_to_be_in(self, config: Any) -> None:
        for kind in get_args(ModuleKind):
            scopes = self.plugin.scopes(config, kind)
            assert scopes, f"no instance in a module of kind {kind}"
            assert set(scopes) <= set(get_args(Scope)), scopes


def _bound_s(config: Any, verb: str) -> float:
    limits = {"start": config.start_timeout, "promote": config.start_timeout}
    limits |= dict.fromkeys(("force-stop", "force-demote"), config.force_stop_timeout)
    return float(limits.get(verb, config.stop_timeout).seconds)
