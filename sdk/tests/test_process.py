"""Real programs, real signals, real control groups."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from safekit_sdk import ConfigError, Context, process
from safekit_sdk.cgroup import cgroup_members, kill_cgroup, make_cgroup, module_cgroup, remove_cgroup, unified_mount
from safekit_sdk.process import Family, Program, end_processes, launch, open_pidfd, run, wait_ended
from safekit_sdk.procfs import (
    MARKER,
    arguments,
    descendants,
    describe,
    marked,
    process_stat,
    session_members,
    ticks_now,
)

SLEEP = "/bin/sleep"


async def until(condition: Callable[[], bool], bound_s: float = 10.0) -> None:
    """Wait for a condition; the test fails when it does not come true."""
    async with asyncio.timeout(bound_s):
        while not condition():  # noqa: ASYNC110 - the condition is of other processes
            await asyncio.sleep(0.005)


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    """A family without a cgroup, whose processes are gone after the test."""
    family = Family(f"node/{uuid.uuid4().hex}/service.x")
    yield family
    assert await family.end(0) == ()


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group of the test's own, emptied and removed after it."""
    mount = unified_mount()
    assert mount, "cgroup v2 is not mounted"
    path = make_cgroup(mount / f"safekit-test-{uuid.uuid4().hex}")
    assert path
    yield path
    kill_cgroup(path)
    for _ in range(2000):
        remove_cgroup(path)
        if not path.exists():
            return
        os.sched_yield()
    raise AssertionError(f"{path} still has {describe(cgroup_members(path))}")


async def test_output_and_status_come_back() -> None:
    done = await run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10)
    assert (done.returncode, done.output, done.timed_out) == (3, "out\nerr\n", False)
    assert not done.ok
    assert done.why() == "exit status 3: out | err"


async def test_input_environment_and_directory_are_the_ones_given(tmp_path: Path) -> None:
    script = "cat; pwd; echo $A; env | wc -l"
    done = await run(["/bin/sh", "-c", script], timeout_s=10, stdin=b"in\n", env={"A": "b"}, cwd=tmp_path)
    assert done.output == f"in\n{tmp_path}\nb\n2\n"  # PWD is the shell's own


async def test_a_daemon_left_in_the_background_is_not_waited_for_and_lives_on(family: Family) -> None:
    done = await run(["/bin/sh", "-c", f"{SLEEP} 1000 & echo started"], timeout_s=10, env=family.environment)
    assert (done.ok, done.output) == (True, "started\n")
    await until(lambda: [arguments(pid) for pid in family.pids()] == [[SLEEP, "1000"]])


async def test_a_timeout_ends_the_whole_session_even_where_term_is_ignored(family: Family) -> None:
    script = f"trap '' TERM; {SLEEP} 1000 & echo going; wait; {SLEEP} 1000"
    done = await run(["/bin/sh", "-c", script], timeout_s=0.2, env=family.environment, grace_s=0.2)
    assert done.timed_out
    assert not done.ok
    assert done.output.startswith("going\n")
    assert done.returncode == -signal.SIGKILL
    assert family.pids() == frozenset()
    assert "no end within" in done.why()


async def test_a_timeout_lets_a_program_end_by_itself_on_term(family: Family) -> None:
    script = f"trap 'echo bye; exit 7' TERM; while :; do {SLEEP} 0.05; done"
    done = await run(["/bin/sh", "-c", script], timeout_s=0.3, env=family.environment, grace_s=10)
    assert (done.timed_out, done.returncode) == (True, 7)
    assert "bye" in done.output


async def test_a_cancelled_caller_leaves_nothing_running(family: Family) -> None:
    task = asyncio.create_task(
        run(["/bin/sh", "-c", f"trap '' TERM; {SLEEP} 1000"], timeout_s=1000, env=family.environment)
    )
    await until(lambda: len(family.pids()) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert family.pids() == frozenset()


async def test_the_end_of_long_output_is_kept() -> None:
    done = await run(["/bin/sh", "-c", "seq 1 100000"], timeout_s=10, output_limit_bytes=13)
    assert done.output == "99999\n100000\n"


async def test_a_program_that_never_stops_writing_does_not_fill_the_memory(family: Family) -> None:
    """Its output is in a pipe, which holds little, and of what was read the end is kept."""
    tracemalloc.start()
    done = await run(["/usr/bin/yes"], timeout_s=1, env=family.environment, output_limit_bytes=100)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (done.timed_out, len(done.output)) == (True, 100)
    assert most_bytes < 16 << 20  # `yes` writes gigabytes in a second


async def test_standard_error_comes_apart_where_that_is_asked_for() -> None:
    script = "echo out; echo err >&2; seq 1 100000; seq 1 100000 >&2; exit 3"
    done = await run(["/bin/sh", "-c", script], timeout_s=10, errors_apart=True, output_limit_bytes=7)
    assert (done.output, done.errors) == ("100000\n", "100000\n")
    assert done.why() == "exit status 3: 100000 | 100000"


async def test_a_file_gets_both_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both"):
        await run(["/bin/true"], timeout_s=10, output=tmp_path / "log", errors_apart=True)


async def test_what_a_program_leaves_behind_may_go_on_writing(family: Family) -> None:
    """Nobody reads it any more, and it is neither stopped nor ended for it."""
    before = open_descriptors()
    script = "while :; do echo more; done & echo started"
    done = await run(["/bin/sh", "-c", script], timeout_s=10, env=family.environment, output_limit_bytes=1 << 20)
    assert "started\n" in done.output
    (pid,) = family.pids()
    written_bytes = written(pid)
    await until(lambda: written(pid) > written_bytes + (1 << 20))
    await family.end(0)
    await until(lambda: open_descriptors() == before)


def written(pid: int) -> int:
    """What it has written so far, proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


async def test_bytes_that_are_no_text_do_not_fail() -> None:
    assert (await run(["/usr/bin/printf", r"a\377b"], timeout_s=10)).output == "a�b"


async def test_output_to_a_file_is_appended_and_only_the_new_part_returned(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n", encoding="utf-8")
    assert (await run(["/bin/echo", "now"], timeout_s=10, output=log)).output == "now\n"
    assert log.read_text(encoding="utf-8") == "before\nnow\n"


async def test_a_program_runs_as_another_user() -> None:
    done = await run(["/bin/sh", "-c", "id -un; id -gn; id -Gn"], timeout_s=10, user="nobody")
    assert done.output == "nobody\nnogroup\nnogroup\n"


async def test_an_unknown_user_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no user 'nobody-here'"):
        await run(["/bin/true"], timeout_s=1, user="nobody-here")


@pytest.mark.parametrize("where", ["run", "cgroup"])
async def test_what_cannot_be_executed_is_refused_with_the_reason(where: str, tmp_path: Path, cgroup: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot run .*missing: No such file or directory"):
        await run([str(tmp_path / "missing")], timeout_s=1, cgroup=cgroup if where == "cgroup" else None)


async def test_no_file_descriptor_is_left_open(tmp_path: Path) -> None:
    before = open_descriptors()
    await run(["/bin/cat"], timeout_s=10, stdin=b"x")
    await run([SLEEP, "1000"], timeout_s=0.05, grace_s=1)
    with pytest.raises(ConfigError):
        await run([str(tmp_path / "missing")], timeout_s=1, stdin=b"x")
    assert open_descriptors() == before


async def test_everything_a_program_forks_is_in_its_cgroup(cgroup: Path) -> None:
    script = f"(setsid {SLEEP} 1000 &) ; cat /proc/self/cgroup"
    done = await run(["/bin/sh", "-c", script], timeout_s=10, cgroup=cgroup, env={})
    assert f"0::/{cgroup.name}\n" in done.output
    await until(lambda: [arguments(pid) for pid in cgroup_members(cgroup)] == [[SLEEP, "1000"]])
    assert await end_processes(cgroup, 5) == ()
    assert cgroup_members(cgroup) == frozenset()


async def test_a_timeout_ends_the_whole_cgroup_when_asked_to(cgroup: Path) -> None:
    script = f"setsid {SLEEP} 1000 & setsid {SLEEP} 1000"
    kept = await run(["/bin/sh", "-c", script], timeout_s=0.3, cgroup=cgroup)
    assert kept.timed_out
    assert cgroup_members(cgroup)
    ended = await run(["/bin/sh", "-c", script], timeout_s=0.3, cgroup=cgroup, end_cgroup=True)
    assert ended.timed_out
    assert cgroup_members(cgroup) == frozenset()


async def test_processes_that_fork_as_fast_as_they_can_are_ended_by_their_cgroup(cgroup: Path) -> None:
    chain = "import os\nwhile True:\n    if os.fork(): os._exit(0)\n    os.setsid()"
    await run([sys.executable, "-c", chain], timeout_s=10, cgroup=cgroup, env={})
    assert cgroup_members(cgroup)
    assert await end_processes(cgroup, 0) == ()
    assert cgroup_members(cgroup) == frozenset()


async def test_a_family_is_found_by_a_process_that_knows_nothing_of_its_start(family: Family) -> None:
    await run(["/bin/sh", "-c", f"setsid {SLEEP} 1000 &"], timeout_s=10, env=family.environment)
    again = Family(family.marker)
    await until(lambda: [arguments(pid) for pid in again.pids()] == [[SLEEP, "1000"]])
    assert await again.end(5) == ()
    assert family.pids() == frozenset()


async def test_a_family_with_a_cgroup_finds_what_has_wiped_its_environment(tmp_path: Path, cgroup: Path) -> None:
    context = Context(module=uuid.uuid4().hex, kind="mirror", node="n", name="x", cgroup=cgroup)
    family = Family.of(context, "service.x")
    await run(["/usr/bin/env", "-i", "/bin/sh", "-c", f"{SLEEP} 1000 &"], timeout_s=10, cgroup=family.home())
    assert marked(family.marker) == frozenset()
    assert len(family.pids()) == 1
    assert await family.end(5) == ()
    assert not (cgroup / "service.x").exists()


@contextlib.contextmanager
def hung_file_system(place: Path) -> Iterator[int]:
    """A FUSE. Whose request is read from what it yields, and never answered, waits, and SIGKILL does not end that."""
    place.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    try:
        mount = ["/bin/mount", "-i", "-t", "fuse", "-o", options, "none", str(place)]
        subprocess.run(mount, check=True, pass_fds=[server], timeout=10)
        number = struct.unpack_from("<Q", os.read(server, 1 << 17), 8)[0]
        greeting = struct.pack("<IIII", 7, 31, 0, 0).ljust(64, b"\0")
        os.write(server, struct.pack("<IiQ", 16 + len(greeting), 0, number) + greeting)
        yield server
    finally:
        os.close(server)
        subprocess.run(["/bin/umount", "-l", str(place)], check=False, timeout=10)


async def test_what_not_even_kill_ends_is_told_by_its_name(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "KILL_BOUND_S", 0.3)
    with hung_file_system(tmp_path / "hung") as server:
        program = launch(["/bin/ls", str(tmp_path / "hung")], output=tmp_path / "log", env=family.environment)
        assert await asyncio.wait_for(asyncio.to_thread(os.read, server, 1 << 17), 10)
        with pytest.raises(ConfigError, match=rf"not even SIGKILL ends {program.pid} \(ls, state D\)"):
            await family.end_all(0.0)
    await family.end_all(5)
    assert program.wait(5) == -signal.SIGKILL


def test_two_instances_of_one_name_in_different_modules_nodes_or_classes_are_different_families() -> None:
    contexts = [Context(module=m, kind="mirror", node=n, name="x") for m in ("a", "b") for n in ("1", "2")]
    assert len({Family.of(c, r).marker for c in contexts for r in ("service.x", "apache.x")}) == 8


async def test_a_marker_is_compared_as_a_whole(family: Family, tmp_path: Path) -> None:
    program = launch([SLEEP, "1000"], output=tmp_path / "log", env={MARKER: family.marker + "y"})
    longer = Family(family.marker + "y")
    assert (family.pids(), longer.pids()) == (frozenset(), frozenset({program.pid}))
    assert await longer.end(5) == ()


async def test_a_stopped_process_is_ended_by_term(family: Family, tmp_path: Path) -> None:
    program = launch([SLEEP, "1000"], output=tmp_path / "log", env=family.environment)
    os.kill(program.pid, signal.SIGSTOP)
    assert await end_processes([program.pid], 10) == ()
    assert program.wait(5) == -signal.SIGTERM


async def test_a_launched_program_is_in_its_own_session_and_its_exit_status_is_known(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = launch(["/bin/sh", "-c", "echo hello; exit 5"], output=log, env={"A": "b"}, cwd=tmp_path)
    pidfd = os.pidfd_open(program.pid)
    assert await wait_ended(pidfd, 10)
    os.close(pidfd)
    stat = process_stat(program.pid)
    assert stat
    assert (stat.session_id, stat.alive) == (program.pid, False)
    assert program.poll() == 5
    assert log.read_text(encoding="utf-8") == "hello\n"


async def test_a_launched_program_that_ended_does_not_stay_a_zombie(tmp_path: Path) -> None:
    pid = launch(["/bin/true"], output=tmp_path / "log").pid
    await until(lambda: (stat := process_stat(pid)) is None or not stat.alive)
    await run(["/bin/true"], timeout_s=10)
    assert process_stat(pid) is None


async def test_waiting_for_an_end_is_bounded(family: Family, tmp_path: Path) -> None:
    program: Program = launch([SLEEP, "1000"], output=tmp_path / "log", env=family.environment)
    pidfd = open_pidfd(program.pid)
    assert pidfd is not None
    assert not await wait_ended(pidfd, 0.01)
    os.kill(program.pid, signal.SIGKILL)
    assert await wait_ended(pidfd, None)
    os.close(pidfd)


async def test_a_reused_process_id_is_not_the_same_process(family: Family, tmp_path: Path) -> None:
    program = launch([SLEEP, "1000"], output=tmp_path / "log", env=family.environment)
    stat = process_stat(program.pid)
    assert stat
    assert open_pidfd(program.pid, stat.start_ticks - 1) is None
    pidfd = open_pidfd(program.pid, stat.start_ticks)
    assert pidfd is not None
    os.close(pidfd)


async def test_pids_that_are_gone_are_no_error(tmp_path: Path) -> None:
    program = launch(["/bin/true"], output=tmp_path / "log")
    program.wait(10)
    assert await end_processes([program.pid], 1) == ()
    assert open_pidfd(program.pid) is None
    assert describe([program.pid]) == ""


async def test_a_session_has_its_living_members(family: Family, tmp_path: Path) -> None:
    program = launch(["/bin/sh", "-c", f"{SLEEP} 1000; :"], output=tmp_path / "log", env=family.environment)
    await until(lambda: len(session_members(program.pid)) == 2)
    assert program.pid in session_members(program.pid)
    assert "(sleep)" in describe(session_members(program.pid))


async def test_the_descendants_of_a_process_are_its_children_and_theirs(family: Family, tmp_path: Path) -> None:
    script = f"(setsid {SLEEP} 1000; :) & wait"
    before = ticks_now()
    program = launch(["/bin/sh", "-c", script], output=tmp_path / "log", env=family.environment)
    await until(lambda: len(descendants(program.pid)) == 2)
    assert descendants(program.pid) | {program.pid} == family.pids()
    stat = process_stat(program.pid)
    assert stat
    assert before <= stat.start_ticks <= ticks_now()


async def test_a_program_that_has_just_been_started_is_found_at_once(family: Family, tmp_path: Path) -> None:
    for _ in range(50):
        program = launch([SLEEP, "1000"], output=tmp_path / "log", env=family.environment)
        assert program.pid in family.pids()


async def test_a_family_knows_its_own(family: Family, tmp_path: Path) -> None:
    mine = launch([SLEEP, "1000"], output=tmp_path / "log", env=family.environment)
    assert family.owns(mine.pid)
    assert not family.owns(os.getpid())


async def test_a_name_with_spaces_and_brackets_is_read_as_it_is(family: Family, tmp_path: Path) -> None:
    script = "import signal\nopen('/proc/self/comm', 'w').write('a) S (b')\nsignal.pause()"
    program = launch([sys.executable, "-c", script], output=tmp_path / "log", env=family.environment)
    await until(lambda: (stat := process_stat(program.pid)) is not None and stat.name == "a) S (b")
    stat = process_stat(program.pid)
    assert stat
    assert (stat.parent_pid, stat.session_id) == (os.getpid(), program.pid)


def test_a_module_has_one_cgroup_per_node() -> None:
    node = f"test-{uuid.uuid4().hex}"
    first, again, other = module_cgroup(node, "web"), module_cgroup(node, "web"), module_cgroup(node + "b", "web")
    assert first
    assert other
    for path in (first.parent, other.parent):
        remove_cgroup(path)
    with contextlib.suppress(OSError):  # another node's may be in it
        first.parent.parent.rmdir()
    assert first == again != other
    assert not first.exists()


def test_no_cgroup_is_made_where_none_can_be(tmp_path: Path) -> None:
    assert make_cgroup(tmp_path / "x") is None
    assert cgroup_members(None) == frozenset()
