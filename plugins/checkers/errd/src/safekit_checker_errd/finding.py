"""Which processes are meant, and one look through /proc for them."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk.cgroup import cgroup_members
from safekit_sdk.procfs import MARKER, ProcessStat, all_pids, arguments, environment, process_stat

COMMAND_LINE_MAX = 8192
"""Characters of a command line that `argregex` searches."""
EXEC_LOOKS = 50
"""How often a process in the midst of an exec is looked at again."""
OTHERS_MAX = 3
_EXEC_PAUSE_S = 0.001
_PID_FILE_BYTES = 64
_KTHREADD = 2
"""The parent of the kernel's own threads."""


class BlindError(Exception):
    """The processes cannot be looked at from here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a process must be to count; what is None does not matter."""

    process: str | None = None
    nameregex: re.Pattern[str] | None = None
    argregex: re.Pattern[str] | None = None
    leader: bool = False
    program: Path | None = None
    user: str | None = None
    pid_file: Path | None = None
    stopped: bool = True
    """Whether one in state T counts."""

    def fits(self, stat: ProcessStat, command_line: list[str]) -> bool:
        if self.leader and stat.session_id != stat.pid:
            return False
        if (self.process or self.nameregex) and not any(map(self._fits_name, _names(stat, command_line))):
            return False
        return self.argregex is None or bool(self.argregex.search(" ".join(command_line)[:COMMAND_LINE_MAX]))

    def _fits_name(self, name: str) -> bool:
        if self.process is not None and name != self.process:
            return False
        return self.nameregex is None or bool(self.nameregex.search(name))

    def objection(self, stat: ProcessStat, face: Face, uid: int | None, filed_pid: int | None) -> str:
        """Why one of that name does not count all the same; empty when it does."""
        if self.pid_file is not None and stat.pid != filed_pid:
            return f"is not the one of {self.pid_file}"
        if self.program is not None and face.program != str(self.program):
            return f"runs {face.program or 'a file that is not shown'}"
        if uid is not None and face.uid != uid:
            return f"runs as {_user_name(face.uid)}"
        return "is stopped (state T)" if stat.state == "T" and not self.stopped else ""


@dataclass(frozen=True, slots=True)
class Face:
    """What /proc shows of a process beside its name."""

    depth: int
    """How many pid namespaces it is in, from that of /proc on: 1 is ours, more is a container's, 0 is gone.
    Unlike /proc/PID/ns/pid it is readable without privilege."""
    uid: int
    """The effective one."""
    program: str
    """The file that it runs; empty when it is not shown."""


@dataclass(frozen=True, slots=True)
class Found:
    counted: dict[int, ProcessStat]
    others: tuple[str, ...] = ()
    """What looks like them and does not count, and why: at most OTHERS_MAX."""


def _names(stat: ProcessStat, command_line: list[str]) -> Iterator[str]:
    """The kernel's name (cut at 15 characters), then the program's as it was called and as it is on disk."""
    yield stat.name
    for called in command_line[:1]:
        yield called.rpartition("/")[2].removeprefix("-")
    if program := _program(stat.pid):
        yield program.rpartition("/")[2]


def _program(pid: int) -> str:
    """The file that it runs, also when that was replaced on disk."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@dataclass(frozen=True, slots=True)
class Own:
    """The processes that one module started."""

    cgroup: Path | None
    marker: str
    """How the markers of its resources begin; they tell where there is no cgroup."""

    def pids(self) -> Iterable[int]:
        if self.cgroup is not None and not self.cgroup.is_dir():
            raise BlindError(f"the module's cgroup {self.cgroup} is not there")
        if self.cgroup is not None:
            return cgroup_members(self.cgroup)
        begin = f"{MARKER}={self.marker}".encode()
        return [pid for pid in all_pids() if any(entry.startswith(begin) for entry in environment(pid))]


class Finder:
    """Looks for the processes wanted, among a module's own if they are given."""

    def __init__(self, wanted: Wanted, own: Own | None = None) -> None:
        self._wanted = wanted
        self._own = own
        self._faceless: frozenset[ProcessStat] = frozenset()
        """Those that showed no command line in the last look, however long it waited."""

    def find(self) -> Found:
        """Every living process of this pid namespace that fits. It may block as long as the kernel holds a process's
        memory map. BlindError when /proc, the user or the pid file cannot tell."""
        check_view()
        uid, filed_pid = self._uid(), self._filed_pid()
        found: dict[int, ProcessStat] = {}
        unclear = self._sort(all_pids() if self._own is None else self._own.pids(), found)
        for _ in range(EXEC_LOOKS):
            if unclear <= self._faceless:
                break
            time.sleep(_EXEC_PAUSE_S)
            unclear = self._sort([stat.pid for stat in unclear], found)
        self._faceless = unclear
        return self._counted(found, uid, filed_pid)

    def _counted(self, found: dict[int, ProcessStat], uid: int | None, filed_pid: int | None) -> Found:
        others = [f"{self._wanted.pid_file} names no process"] if self._wanted.pid_file and filed_pid is None else []
        for pid, stat in list(found.items()):
            face = _face(pid)
            why = self._wanted.objection(stat, face, uid, filed_pid)
            if face.depth != 1 or why:
                del found[pid]
            if face.depth == 1 and why:
                others.append(f"{pid} ({stat.name}) {why}")
        return Found(found, tuple(others[:OTHERS_MAX]))

    def _uid(self) -> int | None:
        if self._wanted.user is None:
            return None
        try:
            return pwd.getpwnam(self._wanted.user).pw_uid
        except KeyError:
            raise BlindError(f"there is no user '{self._wanted.user}'; create it, or name another one") from None

    def _filed_pid(self) -> int | None:
        """None when the file is not there, as of a server that ended, or holds no number."""
        if self._wanted.pid_file is None:
            return None
        try:
            with self._wanted.pid_file.open("rb") as file:
                words = file.read(_PID_FILE_BYTES).split()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BlindError(f"the pid file {self._wanted.pid_file} cannot be read: {error.strerror}") from None
        return int(words[0]) if words and words[0].isdigit() else None

    def _sort(self, pids: Iterable[int], found: dict[int, ProcessStat]) -> frozenset[ProcessStat]:
        """Add those that fit to `found`. Returns those that do not, but may: in the midst of an exec a process has
        no command line for a moment, and a service that restarts by exec would look gone."""
        unclear = set()
        for pid in pids:
            stat = process_stat(pid) if pid != os.getpid() else None
            if stat is None or not stat.alive:
                continue
            command_line = [] if stat.parent_pid == _KTHREADD else arguments(pid)
            if self._wanted.fits(stat, command_line):
                found[pid] = stat
            elif not command_line and _KTHREADD not in (pid, stat.parent_pid):
                unclear.add(stat)
        return frozenset(unclear)


def check_view() -> None:
    """BlindError unless /proc shows this process's own pid namespace, so that its pids are ours."""
    shown = Path("/proc/self").readlink().name
    if shown != str(os.getpid()) or _face(os.getpid()).depth != 1:
        raise BlindError("/proc belongs to another pid namespace; mount the one of this namespace on it")


def _face(pid: int) -> Face:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Face(0, -1, "")
    depth = len(status.partition("\nNSpid:")[2].partition("\n")[0].split())
    return Face(depth, int(status.partition("\nUid:")[2].split()[1]), _program(pid))
