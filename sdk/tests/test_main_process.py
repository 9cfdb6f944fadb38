"""A real program: waited for, watched, told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit_sdk import ConfigError, Health, ResourceState, Verdict
from safekit_sdk.main_process import MainProcess
from safekit_sdk.program_log import ProgramLog

BOUND_S = 10.0


def popen(argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as made:
        yield made
        made.kill()


@pytest.fixture
def main(program: subprocess.Popen[bytes], tmp_path: Path) -> MainProcess:
    log = ProgramLog(tmp_path / "log")
    log.path.write_text("last words\n")
    return MainProcess("Sleep", lambda: program.pid if program.poll() is None else None, log)


async def test_it_is_waited_for_until_it_is_ready(main: MainProcess) -> None:
    looks = iter(["not yet", "not yet", ""])

    async def look(pid: int) -> str:
        assert pid == main.find()
        return next(looks)

    await main.until_ready(look, BOUND_S, print, pause_s=0.001)
    assert list(looks) == []


@pytest.mark.parametrize("ready", [True, False])
async def test_one_that_ends_has_not_started_whatever_was_seen(
    main: MainProcess, program: subprocess.Popen[bytes], ready: bool
) -> None:
    async def look(pid: int) -> str:
        os.kill(pid, signal.SIGKILL)
        program.wait()
        return "" if ready else "not yet"

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"Sleep ended as it started: last words"):
            await main.until_ready(look, BOUND_S, print)


async def test_one_that_is_never_ready_is_given_up_with_what_it_lacks(main: MainProcess) -> None:
    async def look(pid: int) -> str:
        return "it does not listen"

    with pytest.raises(ConfigError, match=r"it does not listen; last words") as told:
        await main.until_ready(look, 0.0, print, pause_s=0.001)
    assert "start_timeout" in told.value.hint


async def test_its_watch_says_what_is_new_and_its_death_at_once(
    main: MainProcess, program: subprocess.Popen[bytes]
) -> None:
    async def ask(pid: int) -> Verdict:
        return Verdict.up(f"process {pid}")

    said = []
    async with asyncio.timeout(BOUND_S), contextlib.aclosing(main.watch(ask, 0.01)) as watch:
        async for verdict in watch:
            said.append(verdict)
            program.kill()
            if len(said) == 3:
                break
    assert [verdict.health for verdict in said] == [Health.UP, Health.DOWN, Health.DOWN]
    assert all(word in verdict.reason for word, verdict in zip(("", "ended", "does not run"), said, strict=True))


async def test_one_that_was_stopped_hears_the_signal_and_none_has_ended(
    main: MainProcess, program: subprocess.Popen[bytes]
) -> None:
    os.kill(program.pid, signal.SIGSTOP)
    assert await main.ends(signal.SIGTERM, BOUND_S)
    program.wait()
    assert await main.ends(signal.SIGTERM, BOUND_S)


async def test_one_that_does_not_hear_at_first_is_told_again(tmp_path: Path) -> None:
    deaf = "from signal import *; signal(SIGTERM, lambda *_: signal(SIGTERM, SIG_DFL))"
    with popen([sys.executable, "-c", f"{deaf}; print(flush=True); [pause() for _ in '12']"]) as program:
        assert program.stdout is not None
        program.stdout.readline()
        main = MainProcess("Python", lambda: program.pid, ProgramLog(tmp_path / "log"))
        assert await main.ends(signal.SIGTERM, BOUND_S, again_s=0.1)


def test_what_is_left_of_a_family_is_a_failure(main: MainProcess) -> None:
    assert main.absent(()).state is ResourceState.STOPPED
    assert main.absent((os.getpid(),)).state is ResourceState.FAILED
