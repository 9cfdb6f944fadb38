"""The birth of a node: a fork of the keeper becomes pid 1 of new namespaces, in step with the keeper."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import kernel, rootfs, wires
from .error import LabError
from .layout import LabSpec, Machine

_STEP_S = 15.0
_MAX_REPORT_BYTES = 4096
_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC


@dataclass(frozen=True, slots=True)
class Birth:
    """A node on its way; link carries the steps: child "namespaces", keeper "go", child "ready" or what failed."""

    machine: Machine
    pid: int
    link: socket.socket

    def expect(self, step: str) -> None:
        self.link.settimeout(_STEP_S)
        try:
            said = self.link.recv(_MAX_REPORT_BYTES).decode()
        except TimeoutError:
            said = f"no answer within {_STEP_S:.0f} s"
        if said != step:
            raise LabError(f"{self.machine.name} did not start: {said or 'its first process died; see keeper.log'}")

    def go(self) -> None:
        self.link.sendall(b"go")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a node stands on. cgroup: whether it has a group of its own, to see as its root."""

    spec: LabSpec
    lower: Path
    cgroup: bool


def conceive(ground: Ground, machine: Machine, disk: rootfs.Disk) -> Birth:
    """Fork the first process of a new pid namespace; it waits for go() before it builds its file system."""
    ours, theirs = socket.socketpair()
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            _run_child(lambda: _live(ground, machine, disk, theirs), theirs)
    finally:
        kernel.setns(own_namespace, kernel.CLONE_NEWPID)
        os.close(own_namespace)
        theirs.close()
    return Birth(machine, pid, ours)


def _run_child(life: Callable[[], NoReturn], link: socket.socket) -> NoReturn:
    """Whatever happens, the child never returns into the keeper's code."""
    try:
        life()
    except BaseException as error:
        with contextlib.suppress(OSError):
            link.sendall(f"{type(error).__name__}: {error}".encode()[:_MAX_REPORT_BYTES])
    finally:
        os._exit(1)


def _live(ground: Ground, machine: Machine, disk: rootfs.Disk, link: socket.socket) -> NoReturn:
    kernel.die_with_parent()
    _forget_keeper(link.fileno())
    kernel.unshare(_NAMESPACES)
    wires.prepare_machine(ground.spec)
    link.sendall(b"namespaces")
    if link.recv(_MAX_REPORT_BYTES) != b"go":
        os._exit(1)  # the keeper died before die_with_parent() took hold
    if ground.cgroup:
        kernel.unshare(kernel.CLONE_NEWCGROUP)
    socket.sethostname(machine.name)
    wires.configure_machine(ground.spec, machine)
    rootfs.enter(ground.spec, machine, ground.lower, disk, cgroup=ground.cgroup)
    kernel.name_process("lab-init")
    link.sendall(b"ready")
    link.close()
    _reap_forever()


def _forget_keeper(link: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, link)
    os.closerange(link + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()


def _reap_forever() -> NoReturn:
    """The work of an init: orphans of the node become its children, and it collects them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    sys.stdout.flush()
    while True:
        signal.sigwait({signal.SIGCHLD})
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
