"""The errd checker against real processes. An interval of an hour proves that a verdict came from the death itself."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from safekit_checker_errd import ErrdChecker, ErrdConfig
from safekit_checker_errd.finding import Finder, Wanted

from safekit_sdk import Health, Ident, check_api
from safekit_sdk.procfs import MARKER

from .kit import checker, first, watching

KERNEL = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def kill(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.wait(10)


def leave_as_zombie(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def child_named(parent: int, name: str) -> int:
    """The pid of the child, once it has this name."""
    for _ in range(1000):
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
        time.sleep(0.01)
    raise AssertionError(f"{parent} has no child {name}")


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_running_process_is_up_and_named(program: Path, start: Any) -> None:
    process = start(program)
    verdict = await first(checker(process=program.name))
    assert verdict.health is Health.UP
    assert verdict.reason == f"1 {program.name} runs"
    assert verdict.facts == {"count": "1", "pids": str(process.pid)}


async def test_no_such_process_is_down(program: Path) -> None:
    verdict = await first(checker(process=program.name))
    assert verdict.health is Health.DOWN
    assert verdict.reason == f"0 {program.name} run, wanted at least 1"


async def test_a_killed_process_is_down_at_once_with_its_pid_name_and_signal(program: Path, start: Any) -> None:
    process = start(program)
    async with watching(checker(process=program.name)) as verdict:
        assert (await verdict()).health is Health.UP
        following = asyncio.ensure_future(verdict())
        process.kill()
        down = await following
    assert down.health is Health.DOWN
    assert f"{process.pid} ({program.name}) was killed by SIGKILL" in down.reason
    assert down.facts["died"] == str(process.pid)
    assert down.facts["process"] == program.name


async def test_a_death_between_two_verdicts_is_not_missed(program: Path, start: Any) -> None:
    process = start(program)
    async with watching(checker(process=program.name)) as verdict:
        assert (await verdict()).health is Health.UP
        kill(process)
        assert (await verdict()).health is Health.DOWN


async def test_an_exit_status_is_told_when_the_parent_has_reaped_it(start: Any, tmp_path: Path) -> None:
    argument = str(tmp_path / "asked")
    process = start("/bin/sh", "-c", "read line; exit 3", argument, stdin=subprocess.PIPE)
    async with watching(checker(argregex=re.escape(argument))) as verdict:
        assert (await verdict()).health is Health.UP
        process.communicate(b"\n", timeout=10)
        down = await verdict()
    assert down.facts["how"] == ("exited with status 3" if KERNEL >= (6, 15) else "ended")


async def test_an_exit_status_is_told_while_it_is_a_zombie(start: Any, tmp_path: Path) -> None:
    argument = str(tmp_path / "asked")
    process = start("/bin/sh", "-c", "read line; exit 3", argument, stdin=subprocess.PIPE)
    async with watching(checker(argregex=re.escape(argument))) as verdict:
        assert (await verdict()).health is Health.UP
        process.stdin.close()
        down = await verdict()
        assert down.facts["how"] == "exited with status 3"


async def test_a_process_that_a_new_one_has_replaced_is_up(program: Path, start: Any) -> None:
    old = start(program)
    async with watching(checker(process=program.name)) as verdict:
        assert (await verdict()).facts["pids"] == str(old.pid)
        new = start(program)
        kill(old)
        said = await verdict()
    assert said.health is Health.UP
    assert said.facts["pids"] == str(new.pid)
    assert f"{old.pid} ({program.name})" in said.reason


async def test_one_of_several_may_end_while_enough_are_left(program: Path, start: Any) -> None:
    processes = [start(program) for _ in range(3)]
    async with watching(checker(process=program.name, atleast=2, interval="200ms")) as verdict:
        assert (await verdict()).facts["count"] == "3"
        kill(processes[0])
        said = await verdict()
        assert (said.health, said.facts["count"]) == (Health.UP, "2")
        kill(processes[1])
        said = await verdict()
        while said.facts["count"] == "2":
            said = await verdict()
        assert (said.health, said.facts["count"]) == (Health.DOWN, "1")


async def test_it_is_up_again_when_a_look_finds_the_process(program: Path, start: Any) -> None:
    async with watching(checker(process=program.name, interval="200ms")) as verdict:
        assert (await verdict()).health is Health.DOWN
        start(program)
        while (await verdict()).health is Health.DOWN:
            pass


async def test_it_keeps_saying_down_at_every_look(program: Path) -> None:
    """The host counts answers in a row (`fall`)."""
    async with watching(checker(process=program.name, interval="200ms")) as verdict:
        assert [(await verdict()).health for _ in range(3)] == [Health.DOWN] * 3


async def test_more_than_atmax_is_down(program: Path, start: Any) -> None:
    for _ in range(3):
        start(program)
    verdict = await first(checker(process=program.name, atmax=2))
    assert verdict.health is Health.DOWN
    assert "wanted at least 1, at most 2" in verdict.reason


async def test_a_zombie_is_dead(program: Path, start: Any) -> None:
    process = start(program)
    leave_as_zombie(process)
    assert (await first(checker(process=program.name))).health is Health.DOWN


async def test_a_process_that_became_another_program_does_not_count(program: Path, start: Any, tmp_path: Path) -> None:
    process = start("/bin/sh", "-c", f"read line; exec {program} 600", "before", stdin=subprocess.PIPE)
    async with watching(checker(argregex="before$", process="sh", interval="200ms")) as verdict:
        assert (await verdict()).health is Health.UP
        process.stdin.write(b"\n")
        process.stdin.flush()
        while (said := await verdict()).health is Health.UP:
            pass
        assert said.facts["count"] == "0"
        assert process.poll() is None


async def test_a_process_of_another_pid_namespace_does_not_count(program: Path, start: Any) -> None:
    """The first process of a pid namespace, as that of a container is."""
    container = start("/usr/bin/unshare", "--pid", "--fork", "--kill-child", str(program), "600")
    inside = child_named(container.pid, program.name)
    verdict = await first(checker(process=program.name))
    assert verdict.health is Health.DOWN
    assert lives(inside)


def test_proc_of_another_pid_namespace_is_unknown_and_preflight_says_what_to_do() -> None:
    """In a new pid namespace /proc is still the old one's: its pids would be strangers'."""
    program = (
        "import asyncio; from safekit_checker_errd import *; from safekit_sdk import Context\n"
        "config = ErrdConfig(process='sh')\n"
        "watch = ErrdChecker(config, Context('web', 'mirror', 'n1', 'test')).watch()\n"
        "async def main():\n"
        "    print((await anext(watch)).health.value, *ErrdChecker.preflight(config, 'mirror'))\n"
        "    await watch.aclose()\n"
        "asyncio.run(main())"
    )
    command = ["/usr/bin/unshare", "--pid", "--fork", sys.executable, "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.startswith("unknown /proc belongs to another pid namespace; mount")


async def test_own_counts_only_the_processes_of_the_modules_cgroup(program: Path, start: Any, cgroup: Path) -> None:
    start(program)
    assert (await first(checker(cgroup, process=program.name, own=True))).health is Health.DOWN
    within = cgroup / "apache"
    within.mkdir()
    ours = start(program)
    (within / "cgroup.procs").write_text(str(ours.pid))
    verdict = await first(checker(cgroup, process=program.name, own=True))
    assert (verdict.health, verdict.facts["pids"]) == (Health.UP, str(ours.pid))
    kill(ours)


async def test_own_without_its_cgroup_is_unknown(program: Path, tmp_path: Path) -> None:
    verdict = await first(checker(tmp_path / "not-there", process=program.name, own=True))
    assert verdict.health is Health.UNKNOWN
    assert "cgroup" in verdict.reason


async def test_own_where_there_are_no_cgroups_counts_by_the_modules_marker(program: Path, start: Any) -> None:
    start(program)
    start(program, env={MARKER: "n1/webcam/service.x"})
    ours = start(program, env={MARKER: "n1/web/service.x"})
    verdict = await first(checker(process=program.name, own=True))
    assert (verdict.health, verdict.facts["pids"]) == (Health.UP, str(ours.pid))


async def test_a_leader_is_told_from_the_workers_of_its_session(program: Path, start: Any) -> None:
    main = start("/bin/bash", "-c", f"{program} 600 & exec {program} 600")
    async with watching(checker(process=program.name, leader=True, interval="200ms")) as verdict:
        while (said := await verdict()).health is not Health.UP:
            pass
        assert said.facts["pids"] == str(main.pid)


def fitting(**wanted: Any) -> set[int]:
    return set(Finder(Wanted(**wanted)).find().counted)


def test_a_long_name_is_the_programs_not_the_kernels(program: Path, start: Any) -> None:
    long = program.rename(program.with_name(program.name + "-with-a-long-name"))
    process = start(long)
    assert fitting(process=long.name) == {process.pid}
    assert fitting(process=long.name[:15]) == {process.pid}
    assert fitting(process=long.name[:16]) == set()


def test_a_program_replaced_on_disk_keeps_its_name(program: Path, start: Any) -> None:
    long = program.rename(program.with_name(program.name + "-with-a-long-name"))
    process = start(long, executable=str(long), cwd="/")
    long.unlink()
    assert fitting(process=long.name) == {process.pid}


def test_names_and_arguments_are_searched_and_all_must_fit(program: Path, start: Any) -> None:
    short, long = start(program, "600"), start(program, "601")
    assert fitting(nameregex=re.compile(f"^{program.name}$")) == {short.pid, long.pid}
    assert fitting(process=program.name, argregex=re.compile(r" 601$")) == {long.pid}
    assert fitting(process="sh", argregex=re.compile(f"{program.name} 601")) == set()


def test_it_never_counts_itself() -> None:
    assert os.getpid() not in fitting(argregex=re.compile("."))


async def test_apache_that_recycles_its_workers_and_restarts_gracefully_is_never_down(
    apache: tuple[int, Path, int], request_page: Callable[[int], None]
) -> None:
    main, configuration, port = apache
    healths = []
    async with watching(checker(argregex=re.escape(str(configuration)), interval="100ms")) as verdict:
        for _ in range(10):
            await asyncio.to_thread(request_page, port)
            healths.append((await verdict()).health)
        os.kill(main, signal.SIGUSR1)
        for _ in range(10):
            healths.append((await verdict()).health)
    assert healths == [Health.UP] * 20


async def test_apache_whose_main_process_is_killed_is_down_although_its_workers_live(
    apache: tuple[int, Path, int],
) -> None:
    main, configuration, _ = apache
    async with watching(checker(argregex=re.escape(str(configuration)), leader=True)) as verdict:
        assert (await verdict()).facts["pids"] == str(main)
        os.kill(main, signal.SIGKILL)
        down = await verdict()
    assert (down.health, down.facts["died"]) == (Health.DOWN, str(main))
    assert fitting(argregex=re.compile(re.escape(str(configuration)))) - {main}


async def test_a_cancelled_watch_gives_its_descriptors_back(
    program: Path, start: Any, open_descriptors: Callable[[], int]
) -> None:
    for _ in range(3):
        start(program)
    before = open_descriptors()
    seen = asyncio.Event()

    async def consume() -> None:
        async for _ in checker(process=program.name).watch():
            seen.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(seen.wait(), 20)
    assert open_descriptors() == before + 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert open_descriptors() == before


async def test_close_gives_the_descriptors_back_and_it_can_watch_again(
    program: Path, start: Any, open_descriptors: Callable[[], int]
) -> None:
    start(program)
    before = open_descriptors()
    watched = checker(process=program.name)
    for _ in range(2):
        async with watching(watched) as verdict:
            assert (await verdict()).health is Health.UP
            assert open_descriptors() == before + 1
            await watched.close()
            assert open_descriptors() == before


@pytest.mark.parametrize(
    ("settings", "ident"),
    [
        ({"process": "apache2"}, "apache2"),
        ({"nameregex": "^ora_.*$"}, "_ora_._"),
        ({"argregex": "-f /etc/x.conf"}, "_-f_etc_x.conf"),
        ({"process": "x" * 255}, "x" * 63),
        ({"argregex": "-" * 100}, "_" + "-" * 62),
        ({"process": "sh", "name": "shell"}, "shell"),
    ],
)
def test_the_identifier_comes_from_what_is_looked_for(settings: Any, ident: str) -> None:
    assert TypeAdapter(Ident).validate_python(ErrdChecker.ident(ErrdConfig(**settings))) == ident


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"process": ""},
        {"process": "a", "nameregex": "a"},
        {"nameregex": "("},
        {"process": "a", "atleast": 3, "atmax": 2},
        {"process": "a", "interval": "10ms"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(ValidationError):
        ErrdConfig(**settings)


def test_it_was_written_for_this_sdk_and_only_watches() -> None:
    check_api(ErrdChecker, "errd")
    assert ErrdChecker.watches()
    assert not ErrdChecker.checks()
