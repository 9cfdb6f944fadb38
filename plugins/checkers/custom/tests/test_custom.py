"""The custom checker with real programs: good ones, and such as hang, fork, flood and die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_custom import CustomChecker, CustomConfig

from safekit_sdk import Context, Health, Verdict
from safekit_sdk.hysteresis import Hysteresis
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import process_stat
from safekit_sdk.testing.context import RecordingContext, a_context

BOUND_S = 10.0
FAMILY = """import os, subprocess, sys, time
sign = sys.argv[1]
sleeper = [sys.executable, "-c", "import time; time.sleep(600)", sign]
subprocess.Popen(sleeper)
subprocess.Popen(sleeper, start_new_session=True, env={})
"""
"""Starts two children: one in its session, one that left it and cleaned its environment."""


def checker(context: Context, *command: Path | str, **settings: Any) -> CustomChecker:
    return CustomChecker(CustomConfig(command=tuple(map(str, command)), **settings), context)


@pytest.fixture
def context(tmp_path: Path, cgroup: Path) -> RecordingContext:
    return a_context(tmp_path, cgroup=cgroup, settings={"QUEUE": "orders"})


@contextlib.asynccontextmanager
async def watching(watched: CustomChecker) -> AsyncIterator[Callable[[], Any]]:
    """A function that returns the next verdict, within a bound."""
    verdicts = watched.watch()
    try:
        yield lambda: asyncio.wait_for(anext(verdicts), BOUND_S)
    finally:
        await verdicts.aclose()  # type: ignore[attr-defined]
        await watched.close()


async def first(watched: CustomChecker) -> Verdict:
    async with watching(watched) as verdict:
        said: Verdict = await verdict()
        return said


async def until(there: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while not there():
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("code", "settings", "health"),
    [
        (0, {}, Health.UP),
        (1, {}, Health.DOWN),
        (2, {}, Health.UNKNOWN),
        (127, {}, Health.UNKNOWN),
        (2, {"others": "down"}, Health.DOWN),
        (3, {"up": [0, 3]}, Health.UP),
        (4, {"down": [1, 4]}, Health.DOWN),
        (0, {"up": [1], "down": [0]}, Health.DOWN),
    ],
)
async def test_the_exit_code_is_the_verdict(
    context: RecordingContext, program: Any, code: int, settings: dict[str, Any], health: Health
) -> None:
    verdict = await first(checker(context, program(f"echo first; echo what was seen; exit {code}"), **settings))
    assert verdict.health is health
    assert f"exited with status {code}: what was seen" in verdict.reason


async def test_it_is_run_again_after_the_interval(context: RecordingContext, program: Any, tmp_path: Path) -> None:
    count = tmp_path / "count"
    async with watching(checker(context, program(f"echo >> {count}"), interval="100ms")) as verdict:
        began_s = time.monotonic()
        for _ in range(3):
            assert (await verdict()).health is Health.UP
        assert time.monotonic() - began_s >= 0.2
    assert count.read_text() == "\n\n\n"


async def test_a_program_that_a_signal_ended_is_unknown(context: RecordingContext, program: Any) -> None:
    verdict = await first(checker(context, program("kill -SEGV $$"), others="down"))
    assert verdict.health is Health.UNKNOWN
    assert "killed by SIGSEGV" in verdict.reason


async def test_a_program_that_hangs_is_killed_with_all_it_started_and_is_unknown(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    hanging = program(FAMILY + 'print("asking", flush=True); time.sleep(600)')
    verdict = await first(checker(context, hanging, sign, timeout="500ms", others="down"))
    assert verdict.health is Health.UNKNOWN
    assert "had not ended after 500ms and was killed: asking" in verdict.reason
    assert found(sign) == []
    said = Hysteresis(rise=1, fall=1).feed(verdict)
    assert said is not None
    assert said.health is Health.UNKNOWN


async def test_without_a_cgroup_a_hang_ends_what_is_in_the_session(
    tmp_path: Path, program: Any, sign: str, found: Any
) -> None:
    hanging = program(FAMILY.replace(", start_new_session=True", "") + "time.sleep(600)")
    verdict = await first(checker(a_context(tmp_path), hanging, sign, timeout="500ms"))
    assert verdict.health is Health.UNKNOWN
    assert found(sign) == []


async def test_what_a_run_leaves_behind_is_killed(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    verdict = await first(checker(context, program(FAMILY), sign))
    assert verdict.health is Health.UP
    assert "it left processes behind, which were killed" in verdict.reason
    assert found(sign) == []


async def test_what_a_run_leaves_behind_is_killed_without_a_cgroup(
    tmp_path: Path, program: Any, sign: str, found: Any
) -> None:
    leaving = program(FAMILY.replace(", env={}", ""))
    assert "left processes behind" in (await first(checker(a_context(tmp_path), leaving, sign))).reason
    assert found(sign) == []


async def test_a_run_that_is_cancelled_is_killed_with_all_it_started(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    async with watching(checker(context, program(FAMILY + "time.sleep(600)"), sign)) as verdict:
        waiting = asyncio.ensure_future(verdict())
        await until(lambda: len(found(sign)) == 3, "the program and its children run")
        waiting.cancel()
        await asyncio.wait({waiting})
        assert found(sign) == []


async def test_a_flood_of_output_is_bounded(context: RecordingContext, program: Any) -> None:
    verdict = await first(checker(context, program('import sys\nsys.stdout.write("x" * 12_000_000)\nsys.exit(1)')))
    assert verdict.health is Health.DOWN
    assert len(verdict.reason) < 600


async def test_a_flood_of_output_that_does_not_end_is_killed(context: RecordingContext) -> None:
    verdict = await first(checker(context, "/usr/bin/yes", timeout="100ms"))
    assert verdict.health is Health.UNKNOWN
    assert verdict.reason == "yes had not ended after 100ms and was killed: y"


async def test_what_it_prints_cannot_break_a_line(context: RecordingContext, program: Any) -> None:
    verdict = await first(checker(context, program(r"printf 'red \033[31m \377\000 here'; exit 1")))
    assert verdict.reason.endswith("status 1: red [31m \ufffd here")
    assert verdict.reason.isprintable()


async def test_it_runs_as_the_user_in_the_directory_with_the_modules_environment(
    context: RecordingContext, program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "s3cret")
    showing = program('echo "$(id -un) $(pwd) $USER $QUEUE $SAFEMODULE ${SECRET_OF_THE_HOST:-none}"')
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    verdict = await first(checker(context, showing, user="nobody", directory="/usr"))
    assert verdict.reason.endswith(f"nobody /usr nobody orders {context.module} none"), verdict.reason


async def test_a_program_that_cannot_be_run_is_unknown_and_objected_to(
    context: RecordingContext, tmp_path: Path
) -> None:
    for settings, what in (
        ({}, "no-such-program"),
        ({"user": "no-such-user"}, "no user 'no-such-user'"),
        ({"directory": "/no-such-place"}, "/no-such-place"),
    ):
        command = "/no-such-program" if not settings else "/bin/true"
        for loop in (False, True):
            watched = checker(context, command, loop=loop, **settings)
            assert (await first(watched)).health is Health.UNKNOWN
        objections = CustomChecker.preflight(watched.config, "mirror")
        assert len(objections) == 1
        assert what in objections[0]


async def test_a_loop_says_its_verdicts_in_lines(context: RecordingContext, program: Any) -> None:
    talking = program("echo warming up; echo up; echo 'DOWN: queue of 900'; echo upside; echo unknown; sleep 600")
    async with watching(checker(context, talking, loop=True)) as verdict:
        said = [await verdict() for _ in range(3)]
    assert [one.health for one in said] == [Health.UP, Health.DOWN, Health.UNKNOWN]
    assert said[1].reason == "queue of 900"
    assert all(one.reason for one in said)
    assert [line.partition(": ")[2] for line in context.lines] == ["warming up", "upside"]


async def test_a_loop_that_ends_is_unknown_at_once_and_begun_again_after_the_interval(
    context: RecordingContext, program: Any
) -> None:
    talking = program("echo up $$; echo no memory left; exit 3")
    async with watching(checker(context, talking, loop=True, interval="200ms")) as verdict:
        before, unknown = await verdict(), await verdict()
        ended_s = time.monotonic()
        after = await verdict()
    assert unknown.health is Health.UNKNOWN
    assert unknown.reason.endswith("exited with status 3: no memory left")
    assert after.health is Health.UP
    assert after.reason != before.reason
    assert time.monotonic() - ended_s > 0.1


async def test_a_loop_that_is_killed_is_unknown_at_once(context: RecordingContext, program: Any) -> None:
    async with watching(checker(context, program("echo up $$; exec sleep 600"), loop=True)) as verdict:
        os.kill(int((await verdict()).reason), signal.SIGKILL)
        assert (await verdict()).reason.endswith("was killed by SIGKILL")


async def test_a_loop_that_ends_while_a_child_holds_its_output_is_seen_and_the_child_killed(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    async with watching(checker(context, program(FAMILY + 'print("up")'), sign, loop=True)) as verdict:
        assert (await verdict()).health is Health.UP
        assert (await verdict()).reason.endswith("exited with status 0")
        following = asyncio.ensure_future(verdict())
        await until(lambda: not found(sign), "the children are gone")
        following.cancel()
        await asyncio.wait({following})


async def test_a_loop_that_closes_its_output_is_unknown_and_killed(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    talking = program("exec >&- 2>&-; while true; do sleep 600; done")
    async with watching(checker(context, talking, sign, loop=True)) as verdict:
        assert (await verdict()).reason.endswith("closed its output")
        following = asyncio.ensure_future(verdict())
        await until(lambda: not found(sign), "it is killed")
        following.cancel()
        await asyncio.wait({following})


@pytest.mark.parametrize("number", [None, signal.SIGSTOP])
async def test_a_loop_that_falls_silent_is_killed_and_begun_again(
    context: RecordingContext, program: Any, number: signal.Signals | None
) -> None:
    talking = program("echo up $$; echo still alive; exec sleep 600")
    settings: dict[str, Any] = {"loop": True, "silence": "300ms", "interval": "100ms"}
    async with watching(checker(context, talking, **settings)) as verdict:
        before = int((await verdict()).reason)
        if number:
            os.kill(before, number)
        assert "has said nothing for 300ms" in (await verdict()).reason
        assert int((await verdict()).reason) != before
        assert process_stat(before) is None


@pytest.mark.parametrize("line", ["up", "chatter"])
async def test_a_loop_that_floods_is_killed(context: RecordingContext, line: str) -> None:
    async with watching(checker(context, "/usr/bin/yes", line, loop=True)) as verdict:
        while (said := await verdict()).health is Health.UP:
            pass
    assert "prints more than 50 lines a second" in said.reason
    assert len(context.lines) <= 1


async def test_a_line_without_end_is_cut_and_the_next_is_understood(context: RecordingContext, program: Any) -> None:
    talking = program('import time\nprint("down " + "x" * 300_000)\nprint("up", flush=True)\ntime.sleep(600)')
    async with watching(checker(context, talking, loop=True)) as verdict:
        down, up = await verdict(), await verdict()
    assert down.health is Health.DOWN
    assert len(down.reason) < 1100
    assert up.health is Health.UP


async def test_a_loop_that_is_cancelled_is_killed_with_all_it_started(
    context: RecordingContext, program: Any, sign: str, found: Any
) -> None:
    async with watching(checker(context, program(FAMILY + "time.sleep(600)"), sign, loop=True)) as verdict:
        waiting = asyncio.ensure_future(verdict())
        await until(lambda: len(found(sign)) == 3, "the program and its children run")
        waiting.cancel()
        await asyncio.wait({waiting})
        assert found(sign) == []


@pytest.mark.parametrize("with_cgroup", [True, False])
async def test_what_a_killed_host_left_running_is_ended_first(
    context: RecordingContext, program: Any, tmp_path: Path, with_cgroup: bool
) -> None:
    around = context if with_cgroup else a_context(tmp_path)
    family = Family.of(around, f"checker.custom.{around.name}")
    left = launch(["/bin/sleep", "600"], output=tmp_path / "output", env=family.environment, cgroup=family.home())
    try:
        assert (await first(checker(around, program("echo up; sleep 600"), loop=True))).health is Health.UP
        assert left.wait(5) == -signal.SIGKILL
    finally:
        left.kill()
        left.wait(5)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"command": []}, "at least 1"),
        ({"command": [""]}, "it is empty"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": "rm -rf /"}, "tuple"),
        ({"command": ["x"], "up": [1]}, "cannot mean up and down"),
        ({"command": ["x"], "up": [256]}, "255"),
        ({"command": ["x"], "loop": True, "down": [2]}, "goes without `loop`"),
        ({"command": ["x"], "silence": "1s"}, "goes with `loop: true`"),
        ({"command": ["x"], "interval": "10ms"}, "busy"),
        ({"command": ["x"], "directory": "here"}, "absolute"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        CustomConfig.model_validate(settings)


@pytest.mark.parametrize(("program", "ident"), [("/opt/check queue", "check_queue"), ("/x/-a", "_-a"), ("/", "_")])
def test_an_identifier_comes_from_the_program(program: str, ident: str) -> None:
    assert CustomChecker.ident(CustomConfig(command=(program,))) == ident
