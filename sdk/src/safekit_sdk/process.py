"""Runs programs and ends processes, each within a bound, and finds again what an earlier process started.

A process is found by its cgroup or its marker, never by its name, and is waited for and signalled through a
pidfd, so that a reused process id is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
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
from safekit_sdk.plugin import Context
from safekit_sdk.procfs import MARKER, describe, environment, marked, process_stat, session_members

KILL_BOUND_S = 5.0
"""How long a killed process may take to vanish; one that takes longer hangs in the kernel."""
_VANISH_BOUND_S = 1.0
_LOOK_S = 0.25
_KEPT_IN_MEMORY_BYTES = 4 << 20
Finder = Callable[[], Collection[int]]
Program = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended."""

    returncode: int
    """Negative: the signal that ended it."""
    output: str
    """The last `output_limit_bytes` of standard output and error."""
    timed_out: bool
    duration_s: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and not self.timed_out

    def why(self) -> str:
        """One line on how it failed, with the last lines that it wrote."""
        said = " | ".join(line.strip() for line in self.output.splitlines()[-5:] if line.strip())
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


class _Sink:
    """Where a program writes: to the end of a file, or to memory, of which the end is kept."""

    def __init__(self, path: Path | None, limit_bytes: int) -> None:
        self._in_memory = path is None
        self._limit_bytes = limit_bytes
        if path is None:
            self.fd = os.memfd_create("safekit-output", os.MFD_CLOEXEC)
            fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        else:
            self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._start = os.fstat(self.fd).st_size

    def bound(self) -> None:
        """Drop the beginning of what is in memory when it has grown long."""
        if self._in_memory and os.fstat(self.fd).st_size > _KEPT_IN_MEMORY_BYTES + self._limit_bytes:
            tail = self._tail()
            os.ftruncate(self.fd, 0)
            os.write(self.fd, tail)

    def _tail(self) -> bytes:
        size = os.fstat(self.fd).st_size
        start = self._start if size >= self._start else 0
        begin = max(start, size - self._limit_bytes)
        return os.pread(self.fd, size - begin, begin)

    def text(self) -> str:
        return self._tail().decode(errors="replace")


def _account(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user '{user}'", hint="create it, or name another user") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


@contextlib.contextmanager
def _joining(cgroup: Path | None) -> Iterator[Callable[[], None] | None]:
    """What the child does between fork and exec, so that nothing it forks can be outside its cgroup."""
    if cgroup is None:
        yield None
        return
    fd = os.open(cgroup / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def join() -> None:
        with contextlib.suppress(OSError):
            os.write(fd, b"0")

    try:
        yield join
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    env: Mapping[str, str] | None
    cwd: Path | None
    cgroup: Path | None
    user: str | None


def _spawn(argv: Sequence[str], stdin: int, stdout: int, around: _Surroundings) -> Program:
    """ConfigError when it cannot be executed."""
    _reap()
    try:
        with _joining(around.cgroup) as join:
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env=around.env,
                cwd=around.cwd,
                start_new_session=True,
                preexec_fn=join,  # noqa: PLW1509 - one write, which takes no lock
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
        program = _spawn(argv, subprocess.DEVNULL, log, _Surroundings(env, cwd, cgroup, user))
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
    cgroup: Path | None = None,
    end_cgroup: bool = False,
    user: str | None = None,
    grace_s: float = 2.0,
) -> Completed:
    """Run a program to its end. What it leaves in the background lives on and is not waited for; on a timeout it
    and its whole session are ended (with `end_cgroup` all of the cgroup), and killed when the caller is cancelled.

    Give `output` (a file to append to) for a program that leaves a daemon with the same output behind.
    ConfigError when it cannot be executed.
    """
    started_s = time.monotonic()
    sink = _Sink(output, output_limit_bytes)
    try:
        program = _spawn_with_input(argv, stdin, sink.fd, _Surroundings(env, cwd, cgroup, user))
        with _watched(program, cgroup if end_cgroup else None) as (pidfd, members):
            timed_out = not await _wait_bounded(pidfd, timeout_s, sink)
            if timed_out:
                await end_processes(members, grace_s, cgroup=cgroup if end_cgroup else None)
        status = -signal.SIGKILL if program.returncode is None else program.returncode
        return Completed(status, sink.text(), timed_out, time.monotonic() - started_s)
    finally:
        os.close(sink.fd)


def _spawn_with_input(argv: Sequence[str], stdin: bytes, stdout: int, around: _Surroundings) -> Program:
    if not stdin:
        return _spawn(argv, subprocess.DEVNULL, stdout, around)
    content = os.memfd_create("safekit-input", os.MFD_CLOEXEC)
    try:
        os.pwrite(content, stdin, 0)
        return _spawn(argv, content, stdout, around)
    finally:
        os.close(content)


async def _wait_bounded(pidfd: int, timeout_s: float, sink: _Sink) -> bool:
    """Wait for the end, keeping the output within its bound meanwhile."""
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        if await wait_ended(pidfd, min(_LOOK_S, left_s)):
            return True
        sink.bound()
    return False


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
