"""Start a process inside a node: a thread enters the node's namespaces, starts it there and ends."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import freezer, kernel
from .error import LabError
from .state import LabDir

_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWCGROUP
)
Stream = IO[str] | IO[bytes] | int | None


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how. The working directory is the node's."""

    argv: Sequence[str]
    cwd: str = "/"
    env: Mapping[str, str] | None = None
    stdin: Stream = None
    stdout: Stream = None
    stderr: Stream = None
    own_session: bool = True


def start(lab: LabDir, node: str, command: Command) -> subprocess.Popen[bytes]:
    """The process is a child of the caller, which must collect it: an uncollected one keeps the node from ending.

    LabError for a node that is crashed or frozen, FileNotFoundError for a command that it lacks.
    """
    pidfd = _open_running(lab, node)
    try:
        with ThreadPoolExecutor(max_workers=1) as visitor:
            process = visitor.submit(_enter_and_start, pidfd, command).result()
    finally:
        os.close(pidfd)
    cgroup = lab.cgroup(node)
    if cgroup is not None:
        freezer.join_cgroup(cgroup, process.pid)
    return process


def node_pid(pid: int) -> int:
    """The number of a process in the innermost pid namespace it is in."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


def _open_running(lab: LabDir, node: str) -> int:
    entry = lab.read_entry(node) if lab.is_held() else None
    if entry is None:
        raise LabError(f"{node} is not running; if it is crashed, boot it: lab start {node} (see: lab list)")
    pid, state = entry
    if state != "running":
        raise LabError(f"{node} is {state}: nothing can run in it; first: lab fault {node} thaw")
    return os.pidfd_open(pid)


def _enter_and_start(pidfd: int, command: Command) -> subprocess.Popen[bytes]:
    kernel.unshare(kernel.CLONE_FS)
    kernel.setns(pidfd, _NAMESPACES)
    kernel.give_up_clock()
    return subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=command.env,
        stdin=command.stdin,
        stdout=command.stdout,
        stderr=command.stderr,
        start_new_session=command.own_session,
    )
