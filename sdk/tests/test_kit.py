"""The suites' instruments: interruption at a suspension, leaks, stalls, the runner, network namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk.cgroup import cgroup_members, make_cgroup
from safekit_sdk.process import launch
from safekit_sdk.testing import Fakes, a_cgroup, a_context, install_fakes, leaks, network_namespace
from safekit_sdk.testing.fakes import FakeResource, FakeResourceConfig
from safekit_sdk.testing.leaks import Belongings, left_since
from safekit_sdk.testing.runner import command
from safekit_sdk.testing.stall import watched_loop
from safekit_sdk.testing.suspension import Interrupted, cancelled_at, count_suspensions, spread

# -- suspensions


async def three_steps(seen: list[int]) -> str:
    for number in range(3):
        await asyncio.sleep(0)
        seen.append(number)
    return "done"


async def test_suspensions_are_counted_and_the_result_comes_through() -> None:
    assert await count_suspensions(three_steps([])) == 3
    assert await Interrupted(three_steps([])) == "done"


@pytest.mark.parametrize(("at", "seen_then"), [(1, []), (2, [0]), (3, [0, 1])])
async def test_a_cancellation_hits_the_chosen_suspension(at: int, seen_then: list[int]) -> None:
    seen: list[int] = []
    assert await cancelled_at(at, three_steps(seen))
    assert seen == seen_then


async def test_a_cancellation_beyond_the_end_does_not_come() -> None:
    seen: list[int] = []
    assert not await cancelled_at(4, three_steps(seen))
    assert seen == [0, 1, 2]


async def test_the_work_may_clean_up_with_further_suspensions() -> None:
    cleaned: list[int] = []

    async def careful() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await three_steps(cleaned)

    assert await cancelled_at(1, careful())
    assert cleaned == [0, 1, 2]


async def test_an_exception_of_the_work_comes_through() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cancelled_at(9, failing())


@pytest.mark.parametrize(
    ("count", "most", "points"), [(0, 4, []), (3, 4, [1, 2, 3]), (100, 4, [1, 34, 67, 100]), (5, 4, [1, 2, 4, 5])]
)
def test_points_are_spread_with_the_first_and_the_last(count: int, most: int, points: list[int]) -> None:
    assert spread(count, most) == points


# -- leaks


def a_child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"])


def kill_without_waiting_for(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


async def test_what_is_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SETTLE_S", 0.0)
    before = Belongings.now()
    file = os.open("/dev/null", os.O_RDONLY)
    task = asyncio.create_task(asyncio.sleep(3600), name="stray")
    child = a_child()
    try:
        left = await left_since(before)
        assert [word.split()[0] for word in left] == ["child", "descriptor", "task"]
        assert f"child {child.pid} (sleep)" in left
        assert f"descriptor {file} (/dev/null)" in left
    finally:
        os.close(file)
        task.cancel()
        kill_without_waiting_for(child)
    await asyncio.sleep(0)
    assert await left_since(before) == [f"child {child.pid} (sleep, ended but never waited for)"]
    assert await left_since(before, zombies=False) == []
    child.wait()
    assert await left_since(before) == []


async def test_what_closes_in_a_later_turn_of_the_loop_is_no_leak() -> None:
    before = Belongings.now()
    left, right = socket.socketpair()
    asyncio.get_running_loop().call_later(0.05, left.close)
    asyncio.get_running_loop().call_later(0.05, right.close)
    assert await left_since(before) == []


# -- stalls


async def test_a_stall_is_measured_and_its_place_shown() -> None:
    async with watched_loop() as stall:
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
    assert stall.longest_s >= 0.25
    assert "time.sleep(0.3)" in stall.where


async def test_waiting_is_no_stall() -> None:
    for _ in range(5):
        async with watched_loop() as stall:
            await asyncio.sleep(0.2)
        if stall.longest_s < 0.15:
            return
    raise AssertionError(f"a loop that waits was taken for one that stands: {stall.longest_s}")


# -- the runner


def perform(tmp_path: Path, verb: str, die_at: int = 0) -> tuple[int, Any]:
    config = FakeResourceConfig(directory=tmp_path)
    argv = command(FakeResource, config, a_context(tmp_path, name="disk", node="n7"), verb, die_at)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_the_runner_performs_one_call_and_tells_the_state(tmp_path: Path) -> None:
    assert perform(tmp_path, "start") == (0, {"state": "started", "detail": "started"})
    assert perform(tmp_path, "status") == (0, {"state": "started", "detail": "started"})
    assert perform(tmp_path, "force-stop") == (0, {"state": "stopped", "detail": ""})
    assert [call for call in Fakes(tmp_path).calls("disk") if call != "status"] == ["start", "force-stop"]


def test_the_runner_tells_a_failure(tmp_path: Path) -> None:
    Fakes(tmp_path).tell("disk", "start", "fail: no space left")
    assert perform(tmp_path, "start") == (1, {"error": "SafekitError: no space left"})


@pytest.mark.parametrize(("die_at", "mark"), [(1, "half"), (99, "started")])
def test_the_runner_dies_where_it_is_told(tmp_path: Path, die_at: int, mark: str) -> None:
    assert perform(tmp_path, "start", die_at) == (-signal.SIGKILL, "")
    assert (tmp_path / "disk.started").read_text(encoding="utf-8") == mark


# -- fakes and their distribution


@pytest.mark.parametrize("behaviour", ["exit", "exit 7"])
def test_a_fake_ends_its_process_when_told(tmp_path: Path, behaviour: str) -> None:
    Fakes(tmp_path).tell("disk", "stop", behaviour)
    assert perform(tmp_path, "stop")[0] == int(behaviour.partition(" ")[2] or 1)


def test_fakes_are_found_by_their_entry_points_in_another_process(tmp_path: Path) -> None:
    script = "from importlib.metadata import entry_points as e; import sys; print(e(group=sys.argv[1])['fake'].load())"
    environment = {**os.environ, "PYTHONPATH": str(install_fakes(tmp_path))}
    for group, name in (("safekit.checkers", "FakeChecker"), ("safekit.witnesses", "FakeWitness")):
        argv = [sys.executable, "-c", script, group]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert name in done.stdout


def test_fakes_are_not_installed_by_themselves() -> None:
    assert not {found.name for found in entry_points(group="safekit.checkers")} & {"fake", "fake-watch"}


def test_all_calls_of_a_directory_are_in_one_order(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path)
    assert fakes.all_calls() == []
    fakes.note("a", "start")
    fakes.note("b", "start")
    fakes.note("a", "stop")
    assert fakes.all_calls() == [("a", "start"), ("b", "start"), ("a", "stop")]


# -- control groups


def test_what_runs_in_a_test_s_cgroup_is_gone_with_it(tmp_path: Path) -> None:
    with a_cgroup() as cgroup:
        assert cgroup
        make_cgroup(cgroup / "below")
        program = launch(["/bin/sh", "-c", "sleep 60 & wait"], output=tmp_path / "log", cgroup=cgroup / "below")
        assert program.pid in cgroup_members(cgroup)
    assert program.wait(5) == -signal.SIGKILL
    assert not cgroup.exists()


# -- network namespaces


def network() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_a_namespace_has_its_own_loopback_and_is_gone_afterwards() -> None:
    outside = network()
    with network_namespace() as namespace:
        with namespace.inside():
            assert network() != outside
            inside = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True)
            assert inside.stdout.strip() == network() == namespace.command("readlink", "/proc/self/ns/net").strip()
            with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
                pass
        assert network() == outside
        assert Path("/run/netns", namespace.name).exists()
    assert not Path("/run/netns", namespace.name).exists()


def test_an_error_inside_a_namespace_leads_home_too() -> None:
    outside = network()
    with pytest.raises(ValueError, match="inside"), network_namespace() as namespace, namespace.inside():
        raise ValueError("inside")
    assert network() == outside


def test_a_command_that_fails_inside_says_why() -> None:
    with network_namespace() as namespace, pytest.raises(RuntimeError, match=r"exit status \d+: .*nowhere"):
        namespace.command("ip", "link", "show", "nowhere")
