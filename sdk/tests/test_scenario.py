"""Event and scene in, scene out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import Health, PluginError, ResourceState, Transition
from safekit_sdk.testing import Demote, Fakes, Look, Promote, Scene, Start, Stop, Tell, a_context, observe, run
from safekit_sdk.testing.fakes import FakeChecker, FakeResource, FakeRole, FakeWatcher

STARTED, STOPPED, FAILED = ResourceState.STARTED, ResourceState.STOPPED, ResourceState.FAILED


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {"directory": str(tmp_path), "start_timeout": "100ms"}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_start_starts_and_says_what_it_logged(config: Any, scene: Scene) -> None:
    after = await run(FakeResource, config, Start(), scene)
    assert (after.status, after.error, after.lines) == (STARTED, "", ("default started",))


async def test_a_scene_goes_into_the_next_event(config: Any, scene: Scene) -> None:
    started = await run(FakeResource, config, Start(), scene)
    stopped = await run(FakeResource, config, Stop(), started)
    assert (stopped.status, stopped.lines) == (STOPPED, ())
    assert (await run(FakeResource, config, Stop(force=True), stopped)).status is STOPPED


async def test_a_started_scene_is_brought_about(config: Any, scene: Scene, fakes: Fakes) -> None:
    after = await run(FakeResource, config, Look(), replace(scene, status=STARTED))
    assert (after.status, fakes.started()) == (STARTED, {"default"})


async def test_a_failed_start_is_told_and_its_stop_clears_it(config: Any, scene: Scene, fakes: Fakes) -> None:
    fakes.tell("default", "half-start", "fail: no space left")
    failed = await run(FakeResource, config, Start(), scene)
    assert (failed.status, failed.error, failed.detail) == (FAILED, "no space left", "half")
    assert (await run(FakeResource, config, Stop(), failed)).status is STOPPED


async def test_a_start_that_hangs_ends_at_its_time_limit(config: Any, scene: Scene, fakes: Fakes) -> None:
    fakes.tell("default", "start", "hang")
    after = await run(FakeResource, config, Start(), scene)
    assert (after.status, after.error) == (STOPPED, "it took longer than 0.1 s")


async def test_a_role_is_promoted_and_demoted_with_its_value_published(config: Any, scene: Scene) -> None:
    primary = await run(FakeRole, config, Promote(), replace(scene, status=STARTED))
    assert (primary.promoted, primary.values) == (True, {"fake.default": "up"})
    secondary = await run(FakeRole, config, Demote(), primary)
    assert (secondary.status, secondary.promoted, secondary.values) == (STARTED, False, {"fake.default": "down"})


async def test_a_failed_promotion_promotes_nothing(config: Any, scene: Scene, fakes: Fakes) -> None:
    fakes.tell("default", "promote", "fail: outdated")
    after = await run(FakeRole, config, Promote(), replace(scene, status=STARTED))
    assert (after.promoted, after.error) == (False, "outdated")


async def test_a_forced_stop_ends_the_role_too(config: Any, scene: Scene) -> None:
    primary = replace(scene, status=STARTED, promoted=True)
    after = await run(FakeRole, config, Stop(force=True), primary)
    assert (after.status, after.promoted) == (STOPPED, False)


async def test_a_change_of_state_is_told(config: Any, scene: Scene, fakes: Fakes) -> None:
    await run(FakeResource, config, Tell(Transition("SECOND", "ALONE", "takeover", 7)), scene)
    assert "transition SECOND ALONE takeover" in fakes.calls("default")


started = {"status": STARTED}


@pytest.mark.parametrize(
    ("plugin", "event", "scene_fields", "why"),
    [
        (FakeRole, Promote(), {}, "promotes only what is started"),
        (FakeRole, Promote(), {"status": FAILED}, "promotes only what is started"),
        (FakeRole, Demote(), started, "demotes gracefully only what is promoted"),
        (FakeRole, Look(), {"promoted": True}, "promoted and not started"),
        (FakeRole, Stop(), {"status": STARTED, "promoted": True}, "demotes before it stops"),
        (FakeRole, Promote(), {"status": STARTED, "kind": "farm"}, "only a mirror's resource"),
        (FakeResource, Promote(), started, "FakeResource has no promote"),
        (FakeResource, Start(), {"scope": "second"}, "it has the scopes prim, not second"),
        (FakeResource, Tell(Transition("WAIT", "UP", "start")), {}, "a mirror module has no state UP"),
        (FakeResource, Tell(Transition("ALONE", "ALONE", "start")), {}, "a change from ALONE to itself"),
        (FakeResource, Look(), {"status": FAILED}, "stopped on this machine, and the scene says failed"),
    ],
)
async def test_what_cannot_happen_is_refused(
    config: Any, scene: Scene, plugin: Any, event: Any, scene_fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(PluginError, match=why):
        await run(plugin, config, event, replace(scene, **scene_fields))


async def test_a_scene_that_the_machine_contradicts_is_refused(config: Any, scene: Scene) -> None:
    await run(FakeResource, config, Start(), scene)
    with pytest.raises(PluginError, match="started on this machine, and the scene says stopped"):
        await run(FakeResource, config, Start(), scene)


# -- observations


async def test_observations_become_verdicts_with_rise_and_fall(fakes: Fakes, tmp_path: Path) -> None:
    def world(*words: str) -> Any:
        return lambda: fakes.say("default", *words)

    worlds = [world("up"), world("up"), world("down", "a"), world("raise", "broken"), world("down", "b")]
    steps = await observe(FakeChecker, {"directory": tmp_path, "rise": 2, "fall": 2}, worlds, tmp_path)
    assert [step.health.value for step in steps] == ["init", "up", "up", "up", "down"]
    assert [step.said.reason if step.said else None for step in steps] == [None, "told to say up", None, None, "b"]
    assert steps[3].answer.health is Health.UNKNOWN
    assert "SafekitError: broken" in steps[3].answer.reason
    assert fakes.calls("default") == ["check"] * 5 + ["close"]


async def test_a_hanging_check_is_unknown_and_a_world_may_be_async(fakes: Fakes, tmp_path: Path) -> None:
    async def hang() -> None:
        fakes.say("default", "hang")

    [step] = await observe(FakeChecker, {"directory": tmp_path, "timeout": "50ms"}, [hang], tmp_path)
    assert (step.health, step.answer.reason) == (Health.UNKNOWN, "the check took longer than 0.05 s")


async def test_a_checker_that_only_watches_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="FakeWatcher has no check"):
        await observe(FakeWatcher, {"directory": tmp_path}, [], tmp_path)


# -- the context


def test_a_context_remembers_what_the_plugin_said(tmp_path: Path) -> None:
    context = a_context(tmp_path, name="home", kind="farm")
    context.log("one")
    context.log("two")
    context.set_value("a.b", "up")
    context.set_value("a.b", "down")
    assert (context.lines, context.values) == (["one", "two"], {"a.b": "down"})
    assert (context.name, context.kind, context.node) == ("home", "farm", "node1")
    assert context.state_dir.stat().st_mode & 0o777 == context.run_dir.stat().st_mode & 0o777 == 0o700


def test_contexts_of_different_tests_are_different_modules(tmp_path: Path) -> None:
    assert a_context(tmp_path).module == a_context(tmp_path).module
    assert a_context(tmp_path).module != a_context(tmp_path / "other").module


def test_an_unknown_field_of_a_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="nodename"):
        a_context(tmp_path, nodename="x")
