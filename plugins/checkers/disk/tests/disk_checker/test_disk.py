"""The disk checker on file systems that really are full, read-only, away, or hang."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_disk import DiskChecker, DiskConfig

from safekit_sdk import Health, Verdict
from safekit_sdk.procfs import all_pids, process_stat
from safekit_sdk.testing import a_context, observe

from .file_systems import FileSystem, in_memory, on_file, run

HOST = """
import asyncio, sys
from safekit_checker_disk import DiskChecker, DiskConfig
from safekit_sdk import Context

async def main():
    config = DiskConfig.model_validate({"path": sys.argv[1], "stall": "300ms"})
    print((await DiskChecker(config, Context("m", "mirror", "n", "x")).check()).health, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[FileSystem]:
    with in_memory(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FileSystem]:
    with on_file(tmp_path / "disk") as made:
        yield made


def configured(path: Path, **settings: Any) -> DiskConfig:
    return DiskConfig.model_validate({"path": str(path), **settings})


@contextlib.asynccontextmanager
async def checker(tmp_path: Path, config: DiskConfig) -> AsyncIterator[DiskChecker]:
    made = DiskChecker(config, a_context(tmp_path))
    try:
        yield made
    finally:
        await made.close()


async def look(tmp_path: Path, path: Path, **settings: Any) -> Verdict:
    async with checker(tmp_path, configured(path, **settings)) as made:
        return await asyncio.wait_for(made.check(), made.config.timeout.seconds)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), (path / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def probes() -> list[int]:
    """The pids of this process' probes."""
    stats = (process_stat(pid) for pid in all_pids())
    return [stat.pid for stat in stats if stat and stat.parent_pid == os.getpid() and stat.alive]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come in 10 s"
        time.sleep(0.005)


async def test_a_good_disk_is_up_with_what_is_free_and_nothing_is_left_on_it(
    tmp_path: Path, memory: FileSystem
) -> None:
    verdict = await look(tmp_path, memory.path, mounted=True)
    assert verdict.health is Health.UP
    assert verdict.facts["free"] == "100.0% (1.0 MiB)"
    assert verdict.facts["free_inodes"] == "99.0%"
    assert float(verdict.facts["write_ms"]) > 0
    assert list(memory.path.iterdir()) == []


async def test_a_disk_that_fills_is_down_and_up_when_there_is_room_again(tmp_path: Path, memory: FileSystem) -> None:
    filler = memory.path / "filler"
    worlds = [lambda: None, lambda: filler.write_bytes(bytes(950 << 10)), lambda: None, filler.unlink]
    steps = await observe(DiskChecker, configured(memory.path, min_free="10%"), worlds, tmp_path)
    assert [step.health for step in steps] == [Health.UP, Health.UP, Health.DOWN, Health.UP]
    assert steps[2].answer.reason.endswith("7.0% (72.0 KiB) free, wanted 10%")


async def test_the_least_that_is_free_may_be_a_size(tmp_path: Path, memory: FileSystem) -> None:
    assert (await look(tmp_path, memory.path, min_free="1MiB")).health is Health.UP
    assert (await look(tmp_path, memory.path, min_free="1.1MiB")).health is Health.DOWN


async def test_a_disk_without_any_room_is_down_whatever_is_wanted(tmp_path: Path, memory: FileSystem) -> None:
    fill(memory.path)
    verdict = await look(tmp_path, memory.path, min_free=0)
    assert verdict.health is Health.DOWN
    assert "it cannot be written to: no space left" in verdict.reason
    assert (await look(tmp_path, memory.path, min_free=0, writable=False)).health is Health.UP
    assert [path.name for path in memory.path.iterdir()] == ["filler"]


async def test_too_few_inodes_are_down(tmp_path: Path, memory: FileSystem) -> None:
    for number in range(90):
        (memory.path / str(number)).touch()
    verdict = await look(tmp_path, memory.path, min_free_inodes="10%")
    assert verdict.health is Health.DOWN
    assert "9.0% (9) of its inodes free, wanted 10%" in verdict.reason
    assert (await look(tmp_path, memory.path, min_free_inodes=9)).health is Health.UP


async def test_what_is_wrong_is_told_whole(tmp_path: Path, disk: FileSystem) -> None:
    disk.remount("ro")
    verdict = await look(tmp_path, disk.path, min_free="99.9%")
    assert verdict.health is Health.DOWN
    told = "it is mounted read-only", "wanted 99.9%", "it cannot be written to: read-only"
    assert all(one in verdict.reason for one in told)
    assert (await look(tmp_path, disk.path, writable=False)).health is Health.UP


async def test_a_disk_that_is_not_mounted_is_down(tmp_path: Path) -> None:
    with in_memory(tmp_path / "disk") as disk:
        assert (await look(tmp_path, disk.path, mounted=True, min_free=0)).health is Health.UP
    assert "nothing is mounted there" in (await look(tmp_path, disk.path, mounted=True, min_free=0)).reason
    assert (await look(tmp_path, disk.path, min_free=0)).health is Health.UP


async def test_a_checker_at_rest_does_not_keep_a_disk_from_being_unmounted(tmp_path: Path) -> None:
    with in_memory(tmp_path / "disk") as disk:
        async with checker(tmp_path, configured(disk.path, mounted=True)) as made:
            assert (await made.check()).health is Health.UP
            run("umount", disk.path)
            assert (await made.check()).health is Health.DOWN
            run("mount", "-t", "tmpfs", "sk-test", disk.path)
            assert (await made.check()).health is Health.UP


async def test_no_directory_is_down(tmp_path: Path) -> None:
    assert "no such directory" in (await look(tmp_path, tmp_path / "none")).reason
    (tmp_path / "file").touch()
    verdict = await look(tmp_path, tmp_path / "file")
    assert (verdict.health, "not a directory" in verdict.reason) == (Health.DOWN, True)


async def test_a_disk_that_may_not_be_written_to_is_unknown(tmp_path: Path) -> None:
    verdict = await look(tmp_path, Path("/sys"), min_free=0)
    assert verdict.health is Health.UNKNOWN
    assert verdict.reason == "/sys could not be looked at: permission denied"


async def test_what_lies_in_the_way_of_the_probe_is_removed_and_not_followed(
    tmp_path: Path, memory: FileSystem
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    async with checker(tmp_path, configured(memory.path)) as made:
        made._file.symlink_to(victim)
        assert (await made.check()).health is Health.UP
    assert victim.read_text() == "precious"
    assert list(memory.path.iterdir()) == []


async def test_a_disk_that_hangs_is_down_in_its_time_and_up_when_it_answers(tmp_path: Path, disk: FileSystem) -> None:
    async with checker(tmp_path, configured(disk.path, stall="400ms", timeout="3s")) as made:
        assert (await made.check()).health is Health.UP
        disk.freeze()
        first, second = await made.check(), await made.check()
        [hung] = probes()
        stat = process_stat(hung)
        assert (first.health, second.health) == (Health.DOWN, Health.DOWN)
        assert "a write and sync hangs, for " in first.reason
        assert stat is not None
        assert stat.state == "D"
        disk.thaw()
        assert (await made.check()).health is Health.UP
    assert probes() == []


async def test_a_checker_is_closed_in_bounded_time_while_the_disk_hangs(tmp_path: Path, disk: FileSystem) -> None:
    async with checker(tmp_path, configured(disk.path, stall="200ms")) as made:
        disk.freeze()
        assert (await made.check()).health is not Health.UP
        await asyncio.wait_for(made.close(), 1.9)
    disk.thaw()
    until(lambda: all((stat := process_stat(pid)) is None or not stat.alive for pid in probes()))
    assert (await look(tmp_path, disk.path)).health is Health.UP


def test_the_process_of_a_checker_whose_disk_hangs_can_be_killed(disk: FileSystem) -> None:
    disk.freeze()
    with subprocess.Popen([sys.executable, "-c", HOST, str(disk.path)], stdout=subprocess.PIPE, text=True) as host:
        try:
            assert host.stdout is not None
            assert host.stdout.readline().strip() in ("down", "unknown")
        finally:
            host.kill()
        assert host.wait(5) == -signal.SIGKILL


async def test_a_probe_that_gets_no_processor_is_unknown_and_not_the_disks_fault(
    tmp_path: Path, memory: FileSystem
) -> None:
    async with checker(tmp_path, configured(memory.path, stall="200ms")) as made:
        assert (await made.check()).health is Health.UP
        [probe] = probes()
        os.kill(probe, signal.SIGSTOP)
        until(lambda: (stat := process_stat(probe)) is not None and stat.state == "T")
        verdict = await made.check()
        assert verdict.health is Health.UNKNOWN
        assert "does not hang (state T)" in verdict.reason
        os.kill(probe, signal.SIGCONT)
        assert (await made.check()).health is Health.UP


async def test_a_probe_that_dies_is_unknown_and_replaced(tmp_path: Path, memory: FileSystem) -> None:
    async with checker(tmp_path, configured(memory.path)) as made:
        assert (await made.check()).health is Health.UP
        [probe] = probes()
        os.kill(probe, signal.SIGKILL)
        verdict = await made.check()
        assert verdict.health is Health.UNKNOWN
        assert "the probe cannot run" in verdict.reason
        assert (await made.check()).health is Health.UP


async def test_an_answer_that_came_while_this_process_stood_still_counts(tmp_path: Path, memory: FileSystem) -> None:
    async with checker(tmp_path, configured(memory.path, stall="300ms")) as made:
        assert (await made.check()).health is Health.UP
        looking = asyncio.create_task(made.check())
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - the loop stands still, which is what the test is about
        assert (await looking).health is Health.UP


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"path": "data"}, "not an absolute path"),
        ({"path": "/data/../etc"}, "not an absolute path"),
        ({"min_free": "100%"}, "less than 100%"),
        ({"min_free": "5 Mb"}, "write it as"),
        ({"min_free": "-1"}, "write it as"),
        ({"min_free": True}, "valid string"),
        ({"min_free_inodes": "5MiB"}, "not a number of inodes"),
        ({"stall": "9.5s"}, "nine tenths"),
        ({"stall": "0s"}, "nine tenths"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DiskConfig.model_validate({"path": "/data", **settings})


@pytest.mark.parametrize(
    ("path", "ident"), [("/", "root"), ("/var/lib/pg", "var_lib_pg"), ("/ä/.x", ".x"), ("/" + "a" * 99, "a" * 63)]
)
def test_the_identifier_is_the_path(path: str, ident: str) -> None:
    expected = f"_{ident}" if ident.startswith(".") else ident
    assert DiskChecker.ident(DiskConfig.model_validate({"path": path})) == expected
