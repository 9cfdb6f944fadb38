"""What died is brought back by a program of the operator's, within bounds; else it is down."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_errd import ErrdChecker, ErrdConfig

from safekit_sdk import Health
from safekit_sdk.procfs import MARKER, environment, process_stat
from safekit_sdk.testing import a_cgroup

from .kit import checker, first, watching


@pytest.fixture
def script(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "repair"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


async def test_a_killed_process_is_started_again_and_never_said_to_be_down(
    program: Path, start: Any, script: Any, tmp_path: Path
) -> None:
    repair = script(f"echo starting; {program} 600 &")
    process = start(program)
    made = checker(place=tmp_path, process=program.name, repair=[str(repair)])
    async with watching(made) as verdict:
        assert (await verdict()).health is Health.UP
        process.kill()
        said = await verdict()
    pid = int(said.facts["pids"])
    try:
        assert said.health is Health.UP
        assert f"repaired, after 0 {program.name} run" in said.reason
        assert f"{process.pid} ({program.name}) was killed by SIGKILL" in said.reason
        assert any(entry.startswith(f"{MARKER}=node1/".encode()) for entry in environment(pid))
        assert f"{repair} is run to repair it" in made.context.lines[0]  # type: ignore[attr-defined]
        assert (tmp_path / "state" / "repair.log").read_text() == "starting\n"
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_what_a_repair_starts_is_of_the_modules_cgroup(program: Path, script: Any, tmp_path: Path) -> None:
    repair = script(f"{program} 600 &")
    with a_cgroup() as cgroup:
        said = await first(checker(cgroup, tmp_path, process=program.name, own=True, repair=[str(repair)]))
        assert said.health is Health.UP


@pytest.mark.parametrize(
    ("text", "settings", "why"),
    [
        ("echo no licence; exit 7", {}, "exit status 7: no licence"),
        ("sleep 600", {"repair_timeout": "200ms"}, "no end within"),
        ("exit 0", {"repair_timeout": "200ms"}, "the repair did not bring them back"),
    ],
)
async def test_a_repair_that_does_not_help_is_down_and_says_why(
    program: Path, script: Any, tmp_path: Path, text: str, settings: Any, why: str
) -> None:
    verdict = await first(checker(place=tmp_path, process=program.name, repair=[str(script(text))], **settings))
    assert verdict.health is Health.DOWN
    assert why in verdict.reason
    assert "\n" not in verdict.reason


async def test_a_program_that_cannot_be_run_is_down_and_preflight_says_so(program: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"process": program.name, "repair": ["/no/such/program"]}
    verdict = await first(checker(place=tmp_path, **settings))
    assert (verdict.health, "cannot run /no/such/program" in verdict.reason) == (Health.DOWN, True)
    assert "/no/such/program" in ErrdChecker.preflight(ErrdConfig.model_validate(settings), "mirror")[0]


async def test_no_more_is_repaired_than_is_said(program: Path, script: Any, tmp_path: Path) -> None:
    mark = tmp_path / "tried"
    repair = script(f"echo x >> {mark}; exit 1")
    watched = checker(place=tmp_path, process=program.name, repair=[str(repair)], repairs=2, interval="100ms")
    async with watching(watched) as verdict:
        reasons = [(await verdict()).reason for _ in range(4)]
    assert mark.read_text() == "x\nx\n"
    assert "2 repairs within 1d were tried already" in reasons[-1]


async def test_too_many_are_not_repaired(program: Path, start: Any, script: Any, tmp_path: Path) -> None:
    for _ in range(2):
        start(program)
    mark = tmp_path / "tried"
    made = checker(place=tmp_path, process=program.name, atmax=1, repair=[str(script(f"touch {mark}"))])
    assert (await first(made)).health is Health.DOWN
    assert not mark.exists()


async def test_a_watch_that_is_turned_off_ends_the_repair_under_way(program: Path, script: Any, tmp_path: Path) -> None:
    mark = tmp_path / "began"
    repair = script(f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600")
    waiting = asyncio.ensure_future(first(checker(place=tmp_path, process=program.name, repair=[str(repair)])))
    async with asyncio.timeout(20):
        while not mark.exists():  # noqa: ASYNC110 - a file of another process
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert process_stat(int(mark.read_text())) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"repair": []},
        {"repair": ["systemctl", "restart"]},
        {"repair": ["/bin/a\0b"]},
        {"repairs": 2},
        {"repair_timeout": "1s"},
        {"program": "relative"},
        {"pid_file": "/run/x.pid", "atleast": 2},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(ValidationError):
        ErrdConfig.model_validate({"process": "a", **settings})
