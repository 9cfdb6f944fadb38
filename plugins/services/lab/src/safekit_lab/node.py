"""A node (or client) of a running lab, as tests, benches and the command line see it."""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from . import clock, control, inside, layout
from .error import CommandError, LabError
from .inside import Command
from .layout import LabSpec, Machine
from .losses import ALL
from .messages import Boot, Crash, Describe, FillDisk, FreeDisk, Freeze, Lose, NodeStatus, Thaw
from .process import Process
from .state import LabDir
from .terms import Direction, NodeState


class Node:
    """Every method raises LabError for what cannot be done, such as running a command in a crashed node."""

    def __init__(self, folder: LabDir, spec: LabSpec, machine: Machine) -> None:
        self.folder = folder
        self._spec = spec
        self._machine = machine

    def __repr__(self) -> str:
        return f"<{self._machine.role} {self.name} of lab {self.folder.name}>"

    @property
    def name(self) -> str:
        return self._machine.name

    @property
    def state(self) -> NodeState:
        return self.status().state

    def status(self) -> NodeStatus:
        nodes = control.ask(self.folder, Describe()).nodes
        return next(node for node in nodes if node.name == self.name)

    def address(self, network: int = 0, family: Literal[4, 6] = 4) -> str:
        self._spec.check_network(network)
        return str(self._ipv4(network) if family == 4 else self._ipv6(network))

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return its output. Daemons that it leaves behind do not hold it up.

        CommandError for an exit code other than 0 if check is set. At the timeout its session is killed: LabError.
        """
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as given,
        ):
            given.write(stdin.encode())
            given.seek(0)
            command = Command(argv, cwd=cwd, env=env, stdin=given, stdout=out, stderr=err)
            returncode = self._finish(inside.start(self.folder, self.name, command), timeout_s)
            texts = [_all_of(file.fileno()) for file in (out, err)]
        if check and returncode != 0:
            raise CommandError(self.name, argv, returncode, *texts)
        return subprocess.CompletedProcess(argv, returncode, *texts)

    def start(
        self,
        argv: Sequence[str],
        *,
        stdout: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Process:
        """Start a command in the background, in a session of its own. It dies with the node, not with the caller.

        stdout and stderr go to one file of the host, in the lab's folder unless named.
        """
        path = stdout or self.new_output()
        with path.open("ab") as file:
            command = Command(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            return Process(self.name, inside.start(self.folder, self.name, command), path)

    def crash(self) -> None:
        """Power off at once: every process is gone, its cables too, and no peer gets a goodbye."""
        control.ask(self.folder, Crash(node=self.name))

    def boot(self) -> None:
        """Start a crashed node; its disk is as it was, /run and /tmp are empty."""
        control.ask(self.folder, Boot(node=self.name))

    def freeze(self, *, deep: bool = False) -> None:
        """Nothing in the node runs. Its kernel still answers ARP and TCP handshakes unless deep."""
        control.ask(self.folder, Freeze(node=self.name, deep=deep))

    def thaw(self) -> None:
        control.ask(self.folder, Thaw(node=self.name))

    def cut(self, *, network: int | None = None, to: "Node | str | None" = None, direction: Direction = "both") -> None:
        """Drop every packet, ARP included, on one network or all, to one node or all."""
        self.loss(ALL, network=network, to=to, direction=direction)

    def heal(
        self, *, network: int | None = None, to: "Node | str | None" = None, direction: Direction = "both"
    ) -> None:
        """End cut and loss for what is named, by default all."""
        self.loss(0.0, network=network, to=to, direction=direction)

    def loss(
        self,
        percent: float,
        *,
        network: int | None = None,
        to: "Node | str | None" = None,
        direction: Direction = "both",
    ) -> None:
        """Drop a share of the packets, each by chance; the last of cut, loss and heal counts."""
        peer = to.name if isinstance(to, Node) else to
        request = Lose(node=self.name, percent=percent, to=peer, network=network, direction=direction)
        control.ask(self.folder, request)

    def fill_disk(self) -> None:
        """Leave no free block on the node's own file system; other nodes do not notice."""
        control.ask(self.folder, FillDisk(node=self.name))

    def free_disk(self) -> None:
        control.ask(self.folder, FreeDisk(node=self.name))

    def step_clock(self, seconds: float) -> None:
        """Move the node's wall clock; the first step reaches the programs started after it, later ones those too.

        Not seen by: programs without glibc or linked statically, file times, the timers of timerfd.
        """
        pid = self.status().pid
        if pid is None:
            raise LabError(f"{self.name} is crashed; boot it first: lab start {self.name}")
        clock.step(Path(f"/proc/{pid}/root"), self.folder.path, seconds)

    def _finish(self, process: subprocess.Popen[bytes], timeout_s: float) -> int:
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            _kill_session(process)
            raise LabError(
                f"{self.name}: {shlex.join(map(str, error.cmd))} has not ended after {timeout_s} s"
            ) from error
        except BaseException:
            _kill_session(process)
            raise

    def new_output(self) -> Path:
        """A new file of the host, in the lab's folder, for the output of a command."""
        descriptor, path = tempfile.mkstemp(prefix=f"{self.name}-", suffix=".log", dir=self.folder.output)
        os.close(descriptor)
        return Path(path)

    def _ipv4(self, network: int) -> IPv4Address:
        return IPv4Address(layout.ipv4(self._machine, network))

    def _ipv6(self, network: int) -> IPv6Address:
        if not self._spec.ipv6:
            raise LabError(f"lab {self.folder.name} was started without IPv6")
        return IPv6Address(layout.ipv6(self._machine, network))


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _all_of(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")
