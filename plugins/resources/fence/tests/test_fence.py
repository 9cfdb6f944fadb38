"""A node is fenced by an agent that is honest, lies, hangs, dies, or talks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fence_power import SECRET, Power
from safekit_resource_fence import FenceConfig, FenceResource

from safekit_sdk import ConfigError, Context, Health, PeerError, RefusedError, ResourceState
from safekit_sdk.process import Family
from safekit_sdk.testing import a_cgroup, a_context

Make = Callable[..., FenceResource]


@pytest.fixture
def make(power: Power, tmp_path: Path) -> Iterator[Make]:
    with a_cgroup() as cgroup:

        def made(node: str = "node1", **settings: Any) -> FenceResource:
            config = FenceConfig.model_validate({**power.settings, **settings})
            return FenceResource(config, a_context(tmp_path, node=node, name="power", cgroup=cgroup))

        yield made


def log(resource: FenceResource) -> str:
    return "\n".join(resource.context.lines)  # type: ignore[attr-defined]


def agents(context: Context) -> frozenset[int]:
    """Those that still run."""
    return Family.of(context, "fence.power").pids()


async def test_a_fenced_node_is_off_and_the_other_one_runs(make: Make, power: Power) -> None:
    resource = make()
    await resource.fence("node2")
    assert not power.runs("node2")
    assert power.runs("node1")
    assert power.actions() == ["off", "status"]
    assert power.calls()[-1]["told"] == {
        "action": "status",
        "ip": "192.0.2.9",
        "nodename": "node2",
        "password": SECRET,
        "plug": "node2",
        "verbose": "1",
    }
    assert "off node2: exit status 0" in log(resource)


async def test_a_started_instance_fences_as_one_that_is_not(make: Make, power: Power) -> None:
    resource = make()
    await resource.start()
    await resource.fence("node2")
    assert not power.runs("node2")
    await resource.stop(False)


async def test_no_secret_is_on_a_command_line_or_in_an_environment(
    make: Make, power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPMI", SECRET)
    await make(secrets={}, node_secrets={"node2": {"password": "env:IPMI"}}).fence("node2")
    assert [call["told"].get("password") for call in power.calls()] == [None, SECRET, SECRET]
    for call in power.calls():
        assert call["command"][2:] == [power.agent, ""]
        assert SECRET not in str(call["command"])
        assert SECRET not in str(call["environment"])


async def test_an_agent_that_prints_what_it_is_told_gives_no_secret_away(make: Make, power: Power) -> None:
    power.mode(off="verbose", status="verbose")
    resource = make(retries=0)
    await resource.fence("node2")
    assert "'password': '***'" in log(resource)
    assert SECRET not in log(resource)
    assert SECRET not in str(await resource.inspect({}))


async def test_an_agent_that_lies_is_not_believed(make: Make, power: Power) -> None:
    power.mode(off="lie")
    with pytest.raises(PeerError, match=r"node2 is not known to be off after 2 tries: status node2: exit status 0"):
        await make(status_timeout="800ms").fence("node2")
    assert power.runs("node2")
    assert power.actions().count("off") == 2


async def test_an_agent_that_ends_with_2_whatever_it_is_asked_is_not_believed(make: Make, power: Power) -> None:
    power.mode(**dict.fromkeys(("off", "status", "monitor", "metadata"), "exit 2"))
    with pytest.raises(PeerError, match="off node2: exit status 2"):
        await make(retries=0).fence("node2")


@pytest.mark.parametrize(
    ("modes", "limits", "what"),
    [
        ({"off": "hang"}, {"off_timeout": "200ms"}, "off node2: no end within"),
        ({"status": "hang"}, {"status_timeout": "200ms"}, "status node2: no end within"),
        ({"off": "die"}, {}, "off node2: ended by signal 9"),
        ({"off": "exit 1"}, {}, "off node2: exit status 1: off: no luck"),
        ({"status": ["die", "exit 1"]}, {"status_timeout": "2s"}, "status node2: exit status 1: status: no luck"),
    ],
)
async def test_no_answer_is_no_yes_and_leaves_no_agent(
    make: Make, power: Power, modes: dict[str, str | list[str]], limits: dict[str, str], what: str
) -> None:
    power.mode(**modes)
    resource = make(retries=0, **limits)
    with pytest.raises(PeerError, match=what):
        await resource.fence("node2")
    assert agents(resource.context) == frozenset()


async def test_a_second_try_can_succeed(make: Make, power: Power) -> None:
    power.mode(off=["exit 1", ""])
    await make().fence("node2")
    assert not power.runs("node2")
    assert power.actions() == ["off", "off", "status"]


async def test_power_that_fades_slowly_is_waited_for(make: Make, power: Power) -> None:
    power.mode(status=["on", ""])
    await make().fence("node2")
    assert power.actions() == ["off", "status", "status"]


async def test_an_agent_that_prints_megabytes_does_its_work_and_fills_nothing(make: Make, power: Power) -> None:
    power.mode(off="print", status="print", monitor="print")
    resource = make()
    await resource.fence("node2")
    assert not power.runs("node2")
    assert max(map(len, log(resource).splitlines())) < 500


async def test_without_confirmation_the_word_of_off_is_taken(make: Make, power: Power) -> None:
    power.mode(off="lie", metadata="without status")
    await make(confirm=False).fence("node2")
    assert power.actions() == ["off"]


async def test_an_agent_that_cannot_confirm_cuts_nobody(make: Make, power: Power) -> None:
    power.mode(metadata="without status")
    with pytest.raises(RefusedError, match="has no action status"):
        await make().fence("node2")
    assert power.runs("node2")
    assert power.actions() == []


async def test_metadata_that_cannot_be_read_hinders_no_fencing(make: Make, power: Power) -> None:
    power.mode(metadata="exit 1")
    await make().fence("node2")
    assert not power.runs("node2")


async def test_a_node_does_not_fence_itself_or_one_that_it_does_not_know(make: Make, power: Power) -> None:
    with pytest.raises(RefusedError, match="node1 is this node"):
        await make().fence("node1")
    with pytest.raises(ConfigError, match="no entry for node3, only for node1, node2"):
        await make().fence("node3")
    assert power.calls() == []


async def test_a_secret_that_is_not_there_or_has_two_lines_is_told(make: Make, power: Power) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_SECRET is not set"):
        await make(secrets={"password": "env:NO_SUCH_SECRET"}).fence("node2")
    (power.place / "secret").write_text("one\naction=status\n")
    with pytest.raises(ConfigError, match="several lines"):
        await make().fence("node2")
    assert power.actions() == []


async def test_a_fencing_that_is_cancelled_leaves_no_agent(make: Make, power: Power) -> None:
    power.mode(off="hang")
    resource = make()
    fencing = asyncio.create_task(resource.fence("node2"))
    await power.is_asked("off")
    assert agents(resource.context)
    fencing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fencing
    assert agents(resource.context) == frozenset()


async def test_the_delay_is_that_of_the_node_to_be_cut(make: Make, power: Power) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await make(delay={"node2": "300ms", "node1": "50s"}, start_timeout="5m").fence("node2")
    assert loop.time() - began_s >= 0.3


async def test_a_look_that_is_under_way_makes_room_for_a_fencing(make: Make, power: Power) -> None:
    power.mode(monitor="hang")
    resource = make()
    await resource.start()
    watch = resource.watch()
    look = asyncio.ensure_future(anext(watch))
    await power.is_asked("monitor")
    await resource.fence("node2")
    assert not power.runs("node2")
    assert agents(resource.context) == frozenset()
    power.mode()
    assert (await look).health is Health.UP
    await watch.aclose()  # type: ignore[attr-defined]
    await resource.stop(False)


async def test_a_dead_device_keeps_no_module_from_starting_and_is_told(make: Make, power: Power) -> None:
    power.mode(monitor=["exit 1", ""])
    resource = make()
    await resource.start()
    watch = resource.watch()
    verdict = await anext(watch)
    assert verdict.health is Health.DOWN
    assert verdict.reason == "the fence device does not answer for node2: monitor: exit status 1: monitor: no luck"
    assert (await anext(watch)).health is Health.UP
    assert await resource.inspect({}) == {"agent": power.agent, "device": f"{power.agent}: the device answers"}
    await watch.aclose()  # type: ignore[attr-defined]
    await resource.stop(False)


@pytest.mark.parametrize(
    ("modes", "settings", "node", "what"),
    [
        ({"monitor": "hang"}, {"status_timeout": "300ms"}, "node1", "does not answer for node2: monitor: no end"),
        ({"metadata": "without status"}, {}, "node1", "has no action status"),
        ({"metadata": "hang"}, {"status_timeout": "300ms"}, "node1", "gives no metadata: no end within"),
        ({}, {"agent": "/no/agent"}, "node1", "install it"),
        ({}, {"secrets": {"password": "env:NO_SUCH_SECRET"}}, "node1", "NO_SUCH_SECRET"),
        ({}, {}, "nodeA", "no entry for nodeA, only for node1, node2"),
    ],
)
async def test_what_would_hinder_a_fencing_is_told_before_it_is_needed(
    make: Make, power: Power, modes: dict[str, str | list[str]], settings: dict[str, Any], node: str, what: str
) -> None:
    power.mode(**modes)
    resource = make(node, **settings)
    await resource.start()
    status = await resource.status()
    assert status.state is ResourceState.FAILED
    assert what in status.detail
    await resource.stop(True)


async def test_one_outlet_that_is_off_is_a_device_that_answers(make: Make, power: Power) -> None:
    power.mode(monitor="exit 2")
    resource = make()
    await resource.start()
    assert (await resource.status()).state is ResourceState.STARTED
    await resource.stop(False)
