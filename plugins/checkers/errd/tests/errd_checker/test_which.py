"""A process of the same name that is another one, or does nothing, does not count; the verdict says why."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from safekit_checker_errd import ErrdChecker, ErrdConfig

from safekit_sdk import Health

from .kit import checker, first, until, watching


async def test_a_killed_process_whose_name_another_program_took_is_down(
    program: Path, start: Any, tmp_path: Path
) -> None:
    """SIGKILL, and at once something of the same name from another place."""
    (tmp_path / "other").mkdir()
    other = Path(shutil.copy("/bin/sleep", tmp_path / "other" / program.name))
    process = start(program)
    by_name, by_file = checker(process=program.name), checker(program=str(program))
    async with watching(by_file) as verdict:
        assert (await verdict()).facts["pids"] == str(process.pid)
        usurper = start(other)
        process.kill()
        down = await verdict()
    assert down.health is Health.DOWN
    assert f"{process.pid} ({program.name}) was killed by SIGKILL" in down.reason
    assert f"{usurper.pid} ({program.name}) runs {other}" in down.reason
    assert (await first(by_name)).health is Health.UP


async def test_a_program_that_was_replaced_on_disk_is_still_that_program(
    program: Path, start: Any, tmp_path: Path
) -> None:
    start(program)
    shutil.copy("/bin/cat", program.with_suffix(".new")).replace(program)
    assert (await first(checker(program=str(program)))).health is Health.UP


async def test_a_stopped_process_is_down_where_that_is_set_and_up_again_when_it_goes_on(
    program: Path, start: Any
) -> None:
    process = start(program)
    async with watching(checker(process=program.name, stopped_is_down=True, interval="100ms")) as verdict:
        assert (await verdict()).health is Health.UP
        process.send_signal(signal.SIGSTOP)
        down = await until(verdict, Health.DOWN)
        assert f"{process.pid} ({program.name}) is stopped (state T)" in down.reason
        assert (await first(checker(process=program.name))).health is Health.UP
        process.send_signal(signal.SIGCONT)
        await until(verdict, Health.UP)


async def test_a_stopped_process_that_is_killed_is_down_at_once(program: Path, start: Any) -> None:
    process = start(program)
    async with watching(checker(process=program.name)) as verdict:
        await verdict()
        process.send_signal(signal.SIGSTOP)
        process.kill()
        assert (await verdict()).health is Health.DOWN


async def test_only_the_processes_of_the_user_count(start: Any) -> None:
    seconds = f"600.{secrets.randbelow(10**12):012}"
    ours = start("/bin/sleep", seconds, user="nobody")
    theirs = start("/bin/sleep", seconds)
    verdict = await first(checker(process="sleep", argregex=seconds, user="nobody", atleast=2))
    assert (verdict.health, verdict.facts["pids"]) == (Health.DOWN, str(ours.pid))
    assert f"{theirs.pid} (sleep) runs as root" in verdict.reason


async def test_a_user_that_there_is_not_is_unknown_and_preflight_says_so(program: Path) -> None:
    settings: dict[str, Any] = {"process": program.name, "user": "no-such-user"}
    assert (await first(checker(**settings))).health is Health.UNKNOWN
    assert "no user" in ErrdChecker.preflight(ErrdConfig.model_validate(settings), "mirror")[0]


async def test_of_several_servers_of_one_name_the_pid_file_tells_which(
    program: Path, start: Any, tmp_path: Path
) -> None:
    file = tmp_path / "server.pid"
    watched: dict[str, Any] = {"process": program.name, "pid_file": str(file), "interval": "100ms"}
    one, other = start(program), start(program)
    file.write_text(f"{one.pid}\n")
    async with watching(checker(**watched)) as verdict:
        assert (await verdict()).facts["pids"] == str(one.pid)
        one.kill()
        down = await until(verdict, Health.DOWN)
        assert f"{other.pid} ({program.name}) is not the one of {file}" in down.reason
        file.write_text(f"{other.pid}\n")
        assert (await until(verdict, Health.UP)).facts["pids"] == str(other.pid)


@pytest.mark.parametrize("content", [None, "", "none\n", "-1", "9" * 64])
async def test_a_pid_file_that_names_no_process_is_down(
    program: Path, start: Any, tmp_path: Path, content: str | None
) -> None:
    start(program)
    file = tmp_path / "server.pid"
    if content is not None:
        file.write_text(content)
    verdict = await first(checker(process=program.name, pid_file=str(file)))
    assert (verdict.health, str(file) in verdict.reason) == (Health.DOWN, True)


async def test_a_pid_of_a_file_that_another_program_has_by_now_does_not_count(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "server.pid"
    file.write_text(str(os.getpid()))
    assert (await first(checker(process=program.name, pid_file=str(file)))).health is Health.DOWN
