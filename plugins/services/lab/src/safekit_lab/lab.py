"""The front door: start a lab, find one that is up, take it down."""

import os
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from . import control, state
from .error import LabError
from .layout import Bind, LabSpec
from .messages import Describe, Down, NodeStatus
from .node import Node
from .probe.record import Plan
from .probe.run import Probe
from .state import LabDir

_START_S = 120.0
_END_S = 30.0
_NEEDED_TOOLS = {"nft": "apt-get install nftables"}


class Lab:
    """A running lab. As a context manager it goes down at the end of the block."""

    def __init__(self, folder: LabDir, spec: LabSpec) -> None:
        self.folder = folder
        self.spec = spec
        machines = {machine.name: Node(folder, spec, machine) for machine in spec.machines}
        self._machines = machines
        self.nodes = tuple(machines[machine.name] for machine in spec.machines if machine.role == "node")
        self.clients = tuple(machines[machine.name] for machine in spec.machines if machine.role == "client")

    @classmethod
    def up(
        cls,
        nodes: int = 2,
        *,
        clients: int = 0,
        networks: int = 1,
        name: str | None = None,
        ipv6: bool = True,
        mtu: int = 1500,
        disk: Path | None = None,
        disk_size_bytes: int = 512 << 20,
        binds: Sequence[Bind] = (),
        outlive: bool = False,
        owner_pid: int | None = None,
    ) -> "Lab":
        """Start a lab and return when every node has booted. It ends with the process owner_pid; without one, with the
        calling process, unless outlive is set.

        Without a name it gets one that no other lab has.
        """
        try:
            spec = LabSpec(
                name=name or f"lab-{secrets.token_hex(3)}",
                nodes=nodes,
                clients=clients,
                networks=networks,
                ipv6=ipv6,
                mtu=mtu,
                disk=disk.resolve() if disk else None,
                disk_size_bytes=disk_size_bytes,
                binds=tuple(binds),
                owner_pid=owner_pid or (None if outlive else os.getpid()),
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise LabError(f"{'.'.join(map(str, first['loc']))}: {first['msg']} (not {first['input']!r})") from error
        return cls.from_spec(spec)

    @classmethod
    def from_spec(cls, spec: LabSpec) -> "Lab":
        check_host(spec)
        state.sweep()
        folder, lock = state.claim(spec.name)
        try:
            folder.spec.write_text(spec.model_dump_json())
            _launch_keeper(folder, lock)
        finally:
            os.close(lock)
        return cls(folder, spec)

    @classmethod
    def find(cls, name: str = "lab") -> "Lab":
        """LabError unless a lab of that name is up."""
        folder = state.find(name)
        return cls(folder, LabSpec.model_validate_json(folder.spec.read_text()))

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def keeper_pid(self) -> int:
        return int(self.folder.lock.read_text())

    def node(self, name: str) -> Node:
        """A node or a client."""
        return self._machines[self.spec.machine(name).name]

    def client(self, name: str = "client1") -> Node:
        return self.node(name)

    def statuses(self) -> tuple[NodeStatus, ...]:
        return control.ask(self.folder, Describe()).nodes

    def probe(
        self,
        target: str,
        *,
        source: str = "client1",
        interval_s: float = 0.01,
        timeout_s: float = 0.25,
        duration_s: float = 3600.0,
        server_header: str | None = None,
        out: Path | None = None,
    ) -> Probe:
        """A client for a with statement: it asks target at a fixed pace until the block or duration_s ends.

        target is http://HOST[:PORT]/PATH or tcp://HOST:PORT; out the host's file for the records, as JSON lines.
        """
        plan = Plan(target, interval_s, timeout_s, duration_s, server_header)
        return Probe(self.node(source), plan, out)

    def down(self) -> None:
        """Kill every node and wait until nothing is left; do nothing if the lab is already down."""
        if not self.folder.is_held():
            return
        keeper = self.folder.open_keeper()
        try:
            control.ask(self.folder, Down())
            if not select.select([keeper], [], [], _END_S)[0]:
                raise LabError(
                    f"the keeper of lab {self.name} has not ended after {_END_S:.0f} s; see {self.folder.log}"
                )
        finally:
            os.close(keeper)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


def check_host(spec: LabSpec) -> None:
    """LabError for what the machine lacks, with what to do."""
    if os.geteuid() != 0:
        raise LabError("a lab needs root, for namespaces and mounts; run it with sudo")
    for tool, remedy in _NEEDED_TOOLS.items():
        if shutil.which(tool) is None:
            raise LabError(f"{tool} is not installed; {remedy}")
    if spec.disk is not None and not spec.disk.is_dir():
        raise LabError(f"--disk {spec.disk} is not a directory; create it first")
    if spec.disk is not None and (spec.disk / spec.name).exists():
        raise LabError(f"{spec.disk / spec.name} exists already; remove it or choose another --disk or --name")
    for bind in spec.binds:
        if not bind.source.exists():
            raise LabError(f"--bind {bind.source}: no such file or directory")


def _launch_keeper(folder: LabDir, lock: int) -> None:
    listen, ready = os.pipe()
    try:
        with folder.log.open("ab") as log:
            launcher = subprocess.Popen(
                [sys.executable, "-m", "safekit_lab.keeper", str(folder.path), str(lock), str(ready)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                pass_fds=(lock, ready),
            )
        os.close(ready)
        said = _last_word(listen)
        launcher.wait(_START_S)
    finally:
        os.close(listen)
    if said != "up":
        raise LabError(f"lab {folder.name} did not start: {said or 'the keeper ended'}; {_hint(said)}")


def _hint(said: str) -> str:
    if "not permitted" in said:
        return "it needs CAP_SYS_ADMIN and CAP_NET_ADMIN; in a container: --privileged"
    return "if the kernel lacks something, it is namespaces, overlay, veth or bridge"


def _last_word(listen: int) -> str:
    """All that the keeper says before it closes the pipe."""
    said = b""
    while select.select([listen], [], [], _START_S)[0]:
        part = os.read(listen, 4096)
        if not part:
            break
        said += part
    return said.decode(errors="replace")
