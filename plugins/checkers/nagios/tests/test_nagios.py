"""The nagios checker with Debian's own plugins, and with such as hang, fork, flood and die."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_nagios import NagiosChecker, NagiosConfig

from safekit_sdk import Context, Health, Verdict
from safekit_sdk.hysteresis import Hysteresis
from safekit_sdk.testing.context import a_context

BOUND_S = 10.0
FAMILY = """import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]]
subprocess.Popen(sleeper)
subprocess.Popen(sleeper, start_new_session=True, env={})
"""
"""Starts two children: one in its session, one that left it and cleaned its environment."""


@pytest.fixture
def context(tmp_path: Path, cgroup: Path) -> Context:
    return a_context(tmp_path, cgroup=cgroup, settings={"QUEUE": "orders"})


def checker(context: Context, *command: Path | str, **settings: Any) -> NagiosChecker:
    return NagiosChecker(NagiosConfig(command=tuple(map(str, command)), **settings), context)


async def look(context: Context, *command: Path | str, **settings: Any) -> Verdict:
    """One check."""
    checking = checker(context, *command, **settings)
    try:
        return await asyncio.wait_for(checking.check(), BOUND_S)
    finally:
        await checking.close()


async def until(there: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while not there():
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.005)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_what_it_complains_about_is_not_its_answer_unless_it_gives_none(
    context: Context, plugin: Callable[[str], Path]
) -> None:
    both = await look(context, str(plugin("echo deprecated >&2; echo 'OK: fine | t=1s'")))
    assert (both.reason, both.facts["t"]) == ("OK: fine", "1s")
    silent = await look(context, str(plugin("echo no such module >&2; exit 3")))
    assert (silent.health, silent.reason) == (Health.UNKNOWN, "no such module")


@pytest.mark.parametrize(
    ("code", "settings", "health"),
    [
        ("0", {}, Health.UP),
        ("1", {}, Health.UP),
        ("1", {"warning": "down"}, Health.DOWN),
        ("2", {}, Health.DOWN),
        ("3", {"warning": "down"}, Health.UNKNOWN),
    ],
)
async def test_the_exit_code_is_the_verdict_and_the_first_line_the_reason(
    context: Context, code: str, settings: dict[str, Any], health: Health
) -> None:
    verdict = await look(context, "check_dummy", code, "as told", **settings)
    assert verdict.health is health
    assert verdict.reason.endswith(": as told")


async def test_check_tcp_sees_a_service_that_goes(context: Context, listener: socket.socket) -> None:
    command = ("check_tcp", "-H", "127.0.0.1", "-p", str(listener.getsockname()[1]), "-w", "5", "-c", "9")
    up = await look(context, *command)
    assert up.health is Health.UP
    assert up.reason.startswith("TCP OK - ")
    assert up.facts["state"] == "OK"
    value, warn, crit, least, most = up.facts["time"].split(";")
    assert 0 < float(value.removesuffix("s")) < 5
    assert [float(one) for one in (warn, crit, least, most)] == [5, 9, 0, 10]
    listener.close()
    down = await look(context, *command)
    assert down.health is Health.DOWN
    assert "Connection refused" in down.reason


async def test_check_tcp_says_itself_that_a_silent_service_is_critical(
    context: Context, listener: socket.socket
) -> None:
    command = ("check_tcp", "-H", "127.0.0.1", "-p", str(listener.getsockname()[1]), "-s", "x", "-e", "y", "-t", "1")
    verdict = await look(context, *command)
    assert verdict.health is Health.DOWN
    assert "timeout" in verdict.reason.lower()


async def test_check_disk_sees_a_disk_that_is_filled(context: Context, disk: Path) -> None:
    command = ("check_disk", "-w", "20%", "-c", "10%", "-p", str(disk))
    assert (await look(context, *command)).health is Health.UP
    (disk / "filling").write_bytes(bytes(980 << 10))
    verdict = await look(context, *command)
    assert verdict.health is Health.DOWN
    assert verdict.reason.startswith("DISK CRITICAL - free space:")
    assert verdict.facts[str(disk)].partition(";")[0].endswith("B")


async def test_a_plugin_in_perl_runs_unchanged(context: Context, tmp_path: Path) -> None:
    command = ("check_file_age", "-f", str(tmp_path / "backup"), "-w", "600", "-c", "900")
    assert (await look(context, *command)).health is Health.DOWN
    (tmp_path / "backup").write_text("x")
    verdict = await look(context, *command)
    assert verdict.health is Health.UP
    assert verdict.facts["age"].endswith("s;600;900")


async def test_check_procs_reads_the_machine(context: Context) -> None:
    verdict = await look(context, "check_procs", "-c", "1:1000000")
    assert verdict.health is Health.UP
    assert int(verdict.facts["procs"].partition(";")[0]) > 0


async def test_a_plugin_that_hangs_is_killed_with_all_it_started_and_is_unknown(
    context: Context, plugin: Any, sign: str, found: Any
) -> None:
    verdict = await look(
        context, plugin(FAMILY + 'print("OK - so far", flush=True); time.sleep(600)'), sign, timeout="600ms"
    )
    assert verdict.health is Health.UNKNOWN
    assert "had not ended after 0.54 s and was killed: OK - so far" in verdict.reason
    assert found(sign) == []
    said = Hysteresis(rise=1, fall=1).feed(verdict)
    assert said is not None
    assert said.health is Health.UNKNOWN


async def test_what_a_plugin_leaves_behind_is_killed(context: Context, plugin: Any, sign: str, found: Any) -> None:
    assert (await look(context, plugin(FAMILY + 'print("OK")'), sign)).health is Health.UP
    assert found(sign) == []


async def test_without_a_cgroup_what_it_leaves_is_found_by_its_marker(
    tmp_path: Path, plugin: Any, sign: str, found: Any
) -> None:
    assert (await look(a_context(tmp_path), plugin(FAMILY.replace(", env={}", "")), sign)).health is Health.UP
    assert found(sign) == []


async def test_a_check_that_is_cancelled_is_killed_with_all_it_started(
    context: Context, plugin: Any, sign: str, found: Any
) -> None:
    checking = checker(context, plugin(FAMILY + "time.sleep(600)"), sign)
    task = asyncio.ensure_future(checking.check())
    await until(lambda: len(found(sign)) == 3, "the plugin and its children run")
    task.cancel()
    await asyncio.wait({task})
    assert found(sign) == []


async def test_a_flood_of_output_is_bounded_and_facts_are_few(context: Context, plugin: Any) -> None:
    flood = await look(context, plugin('import sys\nprint("x" * 12_000_000)\nsys.exit(2)'))
    assert flood.health is Health.DOWN
    assert len(flood.reason) <= 400
    many = await look(context, plugin('import sys\nprint("OK |", *(f"m{n}={n}" for n in range(1000)))'))
    assert len(many.facts) <= 32
    assert many.facts["metrics_left_out"] == "972"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("echo gone; exit 7", "status 7, which means nothing (0 to 3 do): gone"),
        ("exec no-such-command", "status 127"),
    ],
)
async def test_a_plugin_that_breaks_is_unknown(context: Context, plugin: Any, text: str, what: str) -> None:
    verdict = await look(context, plugin(text), warning="down")
    assert verdict.health is Health.UNKNOWN
    assert what in verdict.reason


async def test_a_plugin_that_says_nothing_has_a_reason_all_the_same(context: Context, plugin: Any) -> None:
    verdict = await look(context, plugin("exit 2"))
    assert verdict.health is Health.DOWN
    assert verdict.reason.endswith("says CRITICAL and no more")


async def test_a_metric_does_not_hide_a_fact_of_the_checker(context: Context, plugin: Any) -> None:
    verdict = await look(context, plugin("echo 'OK | state=5 free=1.5GB'"))
    assert {key: verdict.facts[key] for key in ("state", "perf.state", "free")} == {
        "state": "OK",
        "perf.state": "5",
        "free": "1.5GB",
    }


async def test_it_runs_as_the_user_with_the_modules_variables(
    context: Context, plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "s3cret")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    showing = plugin('echo "$(id -un) $(pwd) $USER $QUEUE $LC_ALL ${SECRET_OF_THE_HOST:-none}"')
    verdict = await look(context, showing, user="nobody", directory="/usr")
    assert verdict.reason == "nobody /usr nobody orders C none"


async def test_a_plugin_that_cannot_be_run_is_unknown_and_objected_to(context: Context) -> None:
    for command, settings, what in (
        ("check_no_such_thing", {}, "check_no_such_thing"),
        ("check_dummy", {"user": "no-such-user"}, "no user 'no-such-user'"),
        ("check_dummy", {"directory": "/no-such-place"}, "/no-such-place"),
    ):
        verdict = await look(context, command, "0", **settings)
        assert verdict.health is Health.UNKNOWN
        objections = NagiosChecker.preflight(checker(context, command, **settings).config, "mirror")
        assert len(objections) == 1
        assert what in objections[0]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"command": []}, "at least 1"),
        ({"command": [""]}, "it is empty"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": ["x"], "warning": "unknown"}, "'up' or 'down'"),
        ({"command": ["x"], "directory": "here"}, "absolute"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        NagiosConfig.model_validate(settings)


def test_an_identifier_comes_from_the_plugin() -> None:
    assert NagiosChecker.ident(NagiosConfig(command=("/opt/my checks/check_x", "-a"))) == "check_x"
