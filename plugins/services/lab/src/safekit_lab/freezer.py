"""Stop and continue all processes of a node: at once through its cgroup, or one by one where there is none."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .error import LabError

_SETTLE_S = 5.0
_POLL_S = 0.002
_PREFIX = "safekit-lab."
_GONE = (FileNotFoundError, ProcessLookupError)


def cgroup_root() -> Path | None:
    """Where the unified hierarchy is mounted and writable, or None."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.startswith("cgroup2 "):
            root = Path(fields.split()[4])
            return root if os.access(root, os.W_OK) and os.access(root / "cgroup.procs", os.W_OK) else None
    return None


def lab_cgroup(lab: str) -> Path | None:
    """A new group for a lab, named after this process so that sweep_cgroups() knows when it is no longer needed."""
    root = cgroup_root()
    group = root / f"{_PREFIX}{lab}.{os.getpid()}" if root else None
    return group if group and make_cgroup(group) else None


def make_cgroup(path: Path) -> bool:
    """False where the hierarchy refuses it, as in most containers."""
    try:
        path.mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def remove_cgroup(path: Path) -> None:
    """Remove the group and those below it. One in which a process is still dying stays, for sweep_cgroups()."""
    for folder, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def sweep_cgroups() -> None:
    """Remove the groups whose maker has ended."""
    root = cgroup_root()
    for group in root.glob(f"{_PREFIX}*") if root else ():
        if not _is_alive(int(group.name.rpartition(".")[2])):
            remove_cgroup(group)


def join_cgroup(path: Path, pid: int) -> None:
    """Do nothing for a process that has already ended."""
    with suppress(OSError):
        (path / "cgroup.procs").write_text(str(pid))


def freeze(init_pid: int, cgroup: Path | None) -> None:
    if cgroup is None:
        _signal_all(init_pid, signal.SIGSTOP)
        return
    (cgroup / "cgroup.freeze").write_text("1")
    _wait(lambda: not _adopt_strays(init_pid, cgroup) and "frozen 1" in _events(cgroup), "the node to freeze")


def thaw(init_pid: int, cgroup: Path | None) -> None:
    if cgroup is None:
        _signal_all(init_pid, signal.SIGCONT)
        return
    (cgroup / "cgroup.freeze").write_text("0")
    _wait(lambda: "frozen 0" in _events(cgroup), "the node to thaw")


def processes(init_pid: int) -> Iterator[int]:
    """The host's numbers of all live processes in the pid namespace of init_pid, init first."""
    try:
        namespace = Path(f"/proc/{init_pid}/ns/pid").readlink()
    except _GONE:
        return
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with suppress(*_GONE, PermissionError):
            if Path(f"/proc/{pid}/ns/pid").readlink() == namespace and _is_alive(pid):
                yield pid


def _is_alive(pid: int) -> bool:
    """A process that only waits to be collected is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except _GONE:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _adopt_strays(init_pid: int, cgroup: Path) -> bool:
    """Move in the processes that a command forked before it was itself moved; True if there were any."""
    inside = str(cgroup.relative_to(cgroup_root() or "/"))
    strays = [pid for pid in processes(init_pid) if not _is_in(pid, inside)]
    for pid in strays:
        join_cgroup(cgroup, pid)
    return bool(strays)


def _is_in(pid: int, group: str) -> bool:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except _GONE:
        return True
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
    return f"{own}/".startswith(f"{group}/")


def _events(cgroup: Path) -> str:
    return (cgroup / "cgroup.events").read_text()


def _signal_all(init_pid: int, number: signal.Signals) -> None:
    """Repeat until a pass meets no new process: one may fork while the pass is under way."""
    reached: set[int] = set()

    def pass_is_clean() -> bool:
        new = set(processes(init_pid)) - reached
        for pid in new:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        reached.update(new)
        return not new

    _wait(pass_is_clean, f"{number.name} to reach the node")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SETTLE_S
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {_SETTLE_S:.0f} s for {what}; is a process in uninterruptible sleep (ps, state D)?")
        time.sleep(_POLL_S)
