"""Runs programs and ends processes, each within a bound, and finds again what an earlier process started.

A process is found by its cgroup or its marker, never by its name, and is waited for and signalled through a
pidfd, so that a reused process id is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safekit_sdk.cgroup import cgroup_members, kill_cgroup, make_cgroup, remove_cgroup
from safekit_sdk.errors import ConfigError
from safekit_sdk.output import FileOutput, PipedOutput
from safekit_sdk.parentage import end_with_parent
from safekit_sdk.plugin import Context
from safekit_sdk.procfs import MARKER, describe, environment, marked, process_stat, session_members

KILL_BOUND_S = 5.0
"""How long a killed process may take to vanish; one that takes longer hangs in the kernel."""
_VANISH_BOUND_S = 1.0
Finder = Callable[[], Collection[int]]
Program = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended."""

    returncode: int
    """Negative: the signal that ended it."""
    output: str
    """The last `output_limit_bytes` of standard output, and of standard error where that was not asked for apart."""
    timed_out: bool
    duration_s: float
    errors: str = ""
    """The last `output_limit_bytes` of standard error, where it was asked for apart."""

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and not self.timed_out

    def why(self) -> str:
        """One line on how it failed, with the last lines that it wrote."""
        lines = [*self.output.splitlines(), *self.errors.splitlines()]
        said = " | ".join(line.strip() for line in lines[-5:] if line.strip())
        how = f"exit status {self.returncode}"
        if self.timed_out:
            how = f"no end within {self.duration_s:.1f}s"
        elif self.returncode < 0:
            how = f"ended by signal {-self.returncode}"
        return f"{how}: {said}" if said else how


@dataclass(frozen=True, slots=True)
class Family:
    """The processes of one resource: those in its cgroup and those that carry its marker."""

    marker: str
    cgroup: Path | None = None

    @classmethod
    def of(cls, context: Context, resource: str) -> Family:
        """`resource` is unique in the module: the class, the name, and what else sets an instance apart."""
        cgroup = context.cgroup / resource if context.cgroup else None
        return cls(f"{context.node}/{context.module}/{resource}", cgroup)

    @property
    def environment(self) -> dict[str, str]:
        """What a program of the family is started with."""
        return {MARKER: self.marker}

    def home(self) -> Path | None:
        """The cgroup to start a program in; None where there is none to write, and the marker alone has to do."""
        return make_cgroup(self.cgroup) if self.cgroup else None

    def pids(self) -> frozenset[int]:
        return (cgroup_members(self.cgroup) | marked(self.marker)) - {os.getpid()}

    def owns(self, pid: int) -> bool:
        """Whether this one belongs to it, at the cost of one look."""
        return pid in cgroup_members(self.cgroup) or f"{MARKER}={self.marker}".encode() in environment(pid)

    def leader(self) -> int | None:
        """The living leader of the session in which a program was started in the foreground: its main process. Its
        workers have the same session and may outlive it."""
        for pid in self.pids():
            stat = process_stat(pid)
            if stat is not None and stat.alive and stat.session_id == pid:
                return pid
        return None

    async def end(self, grace_s: float) -> tuple[int, ...]:
        """End them all. Returns those that not even KILL ended within KILL_BOUND_S."""
        left = await end_processes(self.pids, grace_s, cgroup=self.cgroup)
        if self.cgroup and not left:
            remove_cgroup(self.cgroup)
        return left

    async def end_all(self, grace_s: float) -> None:
        """End them all, as a stop has to; ConfigError that names those that are left."""
        if left := await self.end(grace_s):
            raise ConfigError(
                f"not even SIGKILL ends {describe(left)}", hint="a hung file system or device? see `dmesg`"
            )


def open_pidfd(pid: int, start_ticks: int | None = None) -> int | None:
    """A pidfd for the caller to close; None when the process is gone or is another one than `start_ticks` says."""
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    stat = process_stat(pid)
    if stat and stat.alive and start_ticks in (None, stat.start_ticks):
        return pidfd
    os.close(pidfd)
    return None


async def wait_ended(pidfd: int, timeout_s: float | None) -> bool:
    """Whether the process ended in time; None waits without a bound. One waiter at a time for a pidfd."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, lambda: None if ended.done() else ended.set_result(None))
    try:
        done, _ = await asyncio.wait({ended}, timeout=timeout_s)
        return bool(done)
    finally:
        loop.remove_reader(pidfd)


@contextlib.contextmanager
def _held(find: Finder) -> Iterator[list[int]]:
    """pidfds of the processes found both before and after these were opened: none is a stranger."""
    opened = {pid: pidfd for pid in find() if (pidfd := open_pidfd(pid)) is not None}
    try:
        still = find() if opened else ()
        yield [pidfd for pid, pidfd in opened.items() if pid in still]
    finally:
        for pidfd in opened.values():
            os.close(pidfd)


def _signal(pidfds: Collection[int], number: signal.Signals) -> None:
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)


async def _wait_all(pidfds: Collection[int], bound_s: float) -> None:
    deadline_s = time.monotonic() + bound_s
    for pidfd in pidfds:
        if not await wait_ended(pidfd, max(0.0, deadline_s - time.monotonic())):
            return


def _finder(processes: Collection[int] | Path | Finder) -> Finder:
    if isinstance(processes, Path):
        return lambda: cgroup_members(processes)
    if callable(processes):
        return processes
    first = {stat.pid: stat.start_ticks for pid in processes if (stat := process_stat(pid))}

    def those_still_there() -> set[int]:
        now = (process_stat(pid) for pid in first)
        return {stat.pid for stat in now if stat and stat.alive and first[stat.pid] == stat.start_ticks}

    return those_still_there


async def end_processes(
    processes: Collection[int] | Path | Finder, grace_s: float, *, cgroup: Path | None = None
) -> tuple[int, ...]:
    """TERM, `grace_s` to obey, then KILL until none is found. Give pids, a cgroup, or a function that finds them
    anew and so catches what they fork meanwhile. Returns what KILL has not ended within KILL_BOUND_S."""
    find = _finder(processes)
    whole = processes if isinstance(processes, Path) else cgroup
    if grace_s > 0:
        with _held(find) as pidfds:
            _signal(pidfds, signal.SIGTERM)
            _signal(pidfds, signal.SIGCONT)
            await _wait_all(pidfds, grace_s)
    deadline_s = time.monotonic() + KILL_BOUND_S
    while left := find():
        if time.monotonic() > deadline_s:
            return tuple(sorted(left))
        with _held(find) as pidfds:
            if whole:
                kill_cgroup(whole)
            _signal(pidfds, signal.SIGKILL)
            await _wait_all(pidfds, deadline_s - time.monotonic())
        await asyncio.sleep(0.001)
    _reap()
    return ()


def _account(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user '{user}'", hint="create it, or name another user") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


@dataclass(frozen=True, slots=True)
class _Surroundings:
    env: Mapping[str, str] | None
    cwd: Path | None
    cgroup: Path | None
    user: str | None
    outlives: bool = False
    """Whether it is left alone when this process dies."""

    @contextlib.contextmanager
    def entering(self) -> Iterator[Callable[[], None] | None]:
        """What the child does between fork and exec, so that nothing it forks can be outside its cgroup."""
        if self.cgroup is None and self.outlives:
            yield None
            return
        parent = os.getpid()
        fd = os.open(self.cgroup / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) if self.cgroup else -1

        def enter() -> None:
            if not self.outlives:
                end_with_parent(parent_pid=parent)
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.write(fd, b"0")

        try:
            yield enter
        finally:
            if fd >= 0:
                os.close(fd)


def _spawn(argv: Sequence[str], stdin: int, stdout: int, stderr: int, around: _Surroundings) -> Program:
    """ConfigError when it cannot be executed."""
    _reap()
    try:
        with around.entering() as enter:
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=around.env,
                cwd=around.cwd,
                start_new_session=True,
                preexec_fn=enter,  # noqa: PLW1509 - system calls only, which take no lock
                **_account(around.user),
            )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot run {argv[0]}: {reason}", hint="check its path, mode and first line") from error


_unreaped: list[Program] = []
"""Started here and perhaps still running; looked after so that none stays a zombie."""


def _reap() -> None:
    _unreaped[:] = [program for program in _unreaped if program.poll() is None]


def launch(
    argv: Sequence[str],
    *,
    output: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    cgroup: Path | None = None,
    user: str | None = None,
) -> Program:
    """Start a program that outlives this process, in a session of its own, its output appended to a file.
    `poll()` of what is returned gives its exit status. ConfigError when it cannot be executed."""
    log = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        around = _Surroundings(env, cwd, cgroup, user, outlives=True)
        program = _spawn(argv, subprocess.DEVNULL, log, subprocess.STDOUT, around)
    finally:
        os.close(log)
    _unreaped.append(program)
    return program


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    output_limit_bytes: int = 65536,
    output: Path | None = None,
    errors_apart: bool = False,
    cgroup: Path | None = None,
    end_cgroup: bool = False,
    user: str | None = None,
    grace_s: float = 2.0,
) -> Completed:
    """Run a program to its end. What it leaves in the background lives on and is not waited for; on a timeout it
    and its whole session are ended (with `end_cgroup` all of the cgroup), and killed when the caller is cancelled.
    The program itself dies with this process, however that dies: half of a start must not go on beside a forced stop.

    Give `output` (a file to append to) for a program that leaves a daemon with the same output behind; or else, with
    `errors_apart`, standard error comes by itself. ConfigError when it cannot be executed.
    """
    if output and errors_apart:
        raise ValueError("a file gets both, standard output and error")
    started_s = time.monotonic()
    sink = FileOutput(output, output_limit_bytes) if output else PipedOutput(output_limit_bytes, apart=errors_apart)
    try:
        program = _spawn_with_input(argv, stdin, sink, _Surroundings(env, cwd, cgroup, user))
        with _watched(program, cgroup if end_cgroup else None) as (pidfd, members):
            timed_out = not await wait_ended(pidfd, timeout_s)
            if timed_out:
                await end_processes(members, grace_s, cgroup=cgroup if end_cgroup else None)
        status = -signal.SIGKILL if program.returncode is None else program.returncode
        said, errors = sink.texts()
        return Completed(status, said, timed_out, time.monotonic() - started_s, errors)
    finally:
        sink.close()


def _spawn_with_input(
    argv: Sequence[str], stdin: bytes, sink: FileOutput | PipedOutput, around: _Surroundings
) -> Program:
    content = os.memfd_create("safekit-input", os.MFD_CLOEXEC) if stdin else None
    try:
        if content is not None:
            os.pwrite(content, stdin, 0)
        return _spawn(argv, subprocess.DEVNULL if content is None else content, sink.stdout, sink.stderr, around)
    finally:
        sink.started()
        if content is not None:
            os.close(content)


@contextlib.contextmanager
def _watched(program: Program, cgroup: Path | None) -> Iterator[tuple[int, Finder]]:
    """The program's pidfd and a finder of its session (and cgroup). However this is left, the program has ended;
    when an exception leaves it (a cancellation), all of them have."""

    def members() -> frozenset[int]:
        return session_members(program.pid) | cgroup_members(cgroup)

    pidfd = os.pidfd_open(program.pid)
    try:
        yield pidfd, members
    except BaseException:
        _kill_now(members)
        raise
    finally:
        os.close(pidfd)
        _collect(program)


def _kill_now(members: Finder) -> None:
    """Without awaiting, for a task that is being cancelled."""
    for _ in range(3):
        with _held(members) as pidfds:
            _signal(pidfds, signal.SIGKILL)


def _collect(program: Program) -> None:
    try:
        program.wait(_VANISH_BOUND_S)
    except subprocess.TimeoutExpired:
        _unreaped.append(program)
