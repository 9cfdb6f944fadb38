"""Agents that err in every way, and what the operator hears of it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from safekit_resource_ocf import OcfConfig, OcfResource

from safekit_sdk import ConfigError, Health, ResourceState
from safekit_sdk.testing import RecordingContext

from .agents import DaemonAgent, open_files, runs
from .conftest import Made, watching


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "exit code 1, an error that a restart may mend"),
        (2, "a restart does not help: correct `parameters:`, or what they name on this machine"),
        (3, "a restart does not help: choose another agent, or do without this action"),
        (4, "a restart does not help: give it the rights that it asks for"),
        (5, "a restart does not help: install what it needs on this machine"),
        (6, "a restart does not help: correct `parameters:`; the other nodes will fail in the same way"),
        (7, "exit code 7, not running"),
        (9, "exit code 9, failed while promoted"),
        (42, "exit code 42, which means nothing"),
    ],
)
async def test_a_start_that_fails_says_what_helps(daemon: DaemonAgent, make: Made, code: int, words: str) -> None:
    daemon.mode(start=f"echo some noise; echo ocf-exit-reason:the disk is full >&2; echo more; exit {code}")
    with pytest.raises(ConfigError) as failure:
        await make(**daemon.settings).start()
    assert words in str(failure.value)
    assert "the disk is full" in str(failure.value)
    assert "noise" not in str(failure.value)
    assert ("does not help" in str(failure.value)) is (2 <= code <= 6)


@pytest.mark.parametrize(
    ("code", "promoted", "health"),
    [
        (0, False, Health.UP),
        (8, False, Health.DOWN),
        (8, True, Health.UP),
        (0, True, Health.DOWN),
        (1, False, Health.DOWN),
        (5, False, Health.DOWN),
        (7, False, Health.DOWN),
        (9, True, Health.DOWN),
        (42, False, Health.DOWN),
    ],
)
async def test_a_monitor_is_judged_by_its_code_and_the_role(
    daemon: DaemonAgent, make: Made, code: int, promoted: bool, health: Health
) -> None:
    resource = make(**daemon.settings, promotable=True, notify=False)
    await resource.start()
    if promoted:
        await resource.promote()
    daemon.mode(monitor=f"exit {code}")
    async with watching(resource) as said:
        await said.are(1)
    verdict = said.verdicts[0]
    assert verdict.health is health
    assert verdict.facts["code"] == str(code)
    assert ("does not help" in verdict.reason) is (code == 5)
    daemon.mode()


async def test_an_agent_that_hangs_is_killed_with_its_children(daemon: DaemonAgent, make: Made) -> None:
    daemon.mode(start='echo begun; sleep 1000 & echo $! >"$state/child"; wait')
    resource = make(**daemon.settings, start_timeout="1s")
    with pytest.raises(ConfigError, match=r"no end within .*: begun"):
        await resource.start()
    assert not runs(int((daemon.state / "child").read_text()))


async def test_a_monitor_that_hangs_is_unknown_and_later_down(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, monitor_timeout="300ms", hang_limit=2, interval="1s")
    await resource.start()
    daemon.mode(monitor="exec sleep 1000")
    async with watching(resource) as said:
        await said.are(2)
    assert [verdict.health for verdict in said.verdicts] == [Health.UNKNOWN, Health.DOWN]
    daemon.mode()


async def test_a_monitor_that_is_killed_is_unknown(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, hang_limit=1)
    await resource.start()
    daemon.mode(monitor="kill -KILL $$")
    async with watching(resource) as said:
        verdict = await said.becomes(Health.UNKNOWN)
    assert (verdict.health, "ended by signal 9" in verdict.reason) == (Health.UNKNOWN, True)
    daemon.mode()


async def test_a_process_that_died_is_seen_by_the_monitor(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, interval="1s")
    await resource.start()
    async with watching(resource) as said:
        await said.becomes(Health.UP)
        assert daemon.pid is not None
        os.kill(daemon.pid, signal.SIGKILL)
        await said.becomes(Health.DOWN)


async def test_megabytes_of_output_are_not_kept(daemon: DaemonAgent, make: Made, context: RecordingContext) -> None:
    daemon.mode(start="head -c 9000000 /dev/zero | tr '\\0' x; echo ocf-exit-reason:at last; exit 1")
    resource = make(**daemon.settings)
    with pytest.raises(ConfigError) as failure:
        await resource.start()
    assert len(str(failure.value)) < 1000
    daemon.mode()
    await resource.start()
    assert (context.state_dir / "output.log").stat().st_size <= 1 << 20


async def test_a_daemon_that_holds_the_output_keeps_no_start_from_ending(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings)
    await asyncio.wait_for(resource.start(), 30)
    assert daemon.pid is not None
    assert any(name.endswith("output.log") for name in open_files(daemon.pid))
    assert (await resource.status()).state is ResourceState.STARTED


async def test_an_agent_that_is_not_executable_is_told(daemon: DaemonAgent, make: Made) -> None:
    daemon.path.chmod(0o644)
    config = OcfConfig.model_validate(daemon.settings)
    assert OcfResource.preflight(config, "mirror") == [
        f"the agent {daemon.path} is not executable; chmod 755 {daemon.path}"
    ]
    assert OcfResource.scopes(config, "mirror") == ("prim",)
    with pytest.raises(ConfigError, match="cannot run"):
        await make(**daemon.settings).start()
    daemon.path.chmod(0o755)


async def test_what_runs_without_its_agent_is_not_said_to_be_stopped(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings)
    await resource.start()
    daemon.path.chmod(0o644)
    assert (await resource.status()).state is ResourceState.FAILED
    for force in (False, True):
        with pytest.raises(ConfigError, match="is not executable"):
            await resource.stop(force)
    daemon.path.chmod(0o755)
    await resource.stop(False)
    daemon.path.chmod(0o644)
    assert (await resource.status()).state is ResourceState.STOPPED
    await resource.stop(True)


async def test_a_stop_that_lies_has_failed_and_a_forced_one_ends_it(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings)
    await resource.start()
    daemon.mode(stop="exit 0")
    with pytest.raises(ConfigError, match="says that it has stopped, and its monitor that it runs"):
        await resource.stop(False)
    await resource.stop(True)
    assert daemon.traces() == []


async def test_a_forced_stop_that_cannot_be_confirmed_is_stuck(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings)
    await resource.start()
    daemon.mode(stop="exit 1", monitor="exit 1")
    with pytest.raises(ConfigError, match="may still run: stop: exit code 1"):
        await resource.stop(True)
    daemon.mode()


async def test_what_a_stop_leaves_is_ended_and_told(daemon: DaemonAgent, make: Made, context: RecordingContext) -> None:
    daemon.mode(start='setsid sleep 1000 & echo $! >"$state/other"')
    resource = make(**daemon.settings)
    await resource.start()
    await resource.stop(False)
    assert any("left 1 processes running" in line for line in context.lines)
    assert not runs(int((daemon.state / "other").read_text()))


async def test_what_cannot_be_demoted_by_force_is_stopped(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, promotable=True, notify=False)
    await resource.start()
    await resource.promote()
    daemon.mode(demote="exit 1")
    with pytest.raises(ConfigError, match="demote: exit code 1"):
        await resource.demote(False)
    await resource.demote(True)
    assert daemon.traces() == []


async def test_a_monitor_that_hangs_does_not_delay_a_stop(daemon: DaemonAgent, make: Made) -> None:
    resource = make(**daemon.settings, monitor_timeout="100s")
    await resource.start()
    daemon.mode(monitor='[ "$OCF_RESKEY_CRM_meta_interval" = 0 ] || { touch "$state/asked"; exec sleep 1000; }')
    async with watching(resource):
        await daemon.was_asked()
        await asyncio.wait_for(resource.stop(False), 30)
    assert daemon.traces() == []
