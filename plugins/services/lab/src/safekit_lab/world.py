"""The keeper's hold on its nodes: what exists, what was done to it, and the acts that change it."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from . import boot, freezer, kernel, layout, rootfs, wires
from .boot import Birth, Ground
from .error import LabError
from .layout import LabSpec, Machine
from .losses import Way, ruleset, ways
from .messages import Lose, NodeStatus
from .nft import load
from .state import LabDir
from .terms import NodeState

_DEATH_S = 10.0
_COLLECT_S = 0.2
_POLL_S = 0.002


@dataclass(slots=True)
class Node:
    """pid is the host's number of the node's init, None while the node is crashed. silent: its packets are dropped."""

    machine: Machine
    disk: rootfs.Disk
    pid: int | None = None
    frozen: bool = False
    silent: bool = False

    @property
    def state(self) -> NodeState:
        if self.pid is None:
            return "crashed"
        return "frozen" if self.frozen else "running"


class World:
    """Call build() once, from a process that may give up its mount and network namespaces."""

    def __init__(self, spec: LabSpec, folder: LabDir) -> None:
        self._spec = spec
        self._folder = folder
        self._nodes: dict[str, Node] = {}
        self._losses: dict[Way, float] = {}
        self._lower = folder.mounts
        self._uncollected: set[int] = set()

    def build(self) -> None:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
        self._make_cgroup()
        self._lower = rootfs.prepare_keeper(self._folder.mounts)
        wires.make_switch(self._spec)
        if self._spec.disk is not None:
            self._folder.disks_link.symlink_to(self._spec.disk / self._spec.name)
        for machine in self._spec.machines:
            self._nodes[machine.name] = Node(machine, rootfs.make_disk(self._spec, machine, self._folder.mounts))
        self._boot(self._nodes.values())

    def statuses(self) -> tuple[NodeStatus, ...]:
        return tuple(self._status(node) for node in self._nodes.values())

    def boot(self, name: str) -> None:
        node = self._node(name)
        if node.pid is not None:
            raise LabError(f"{name} is already running; to restart it: lab fault {name} crash, then lab start {name}")
        self._boot([node])

    def crash(self, name: str) -> None:
        node = self._alive(name)
        self._kill([node])

    def freeze(self, name: str, *, deep: bool) -> None:
        node = self._alive(name)
        if deep and not node.silent:
            node.silent = True
            self._apply_losses()
        freezer.freeze(_pid(node), self._folder.cgroup(name))
        node.frozen = True
        self._show(node)

    def thaw(self, name: str) -> None:
        node = self._alive(name)
        if node.silent:
            node.silent = False
            self._apply_losses()
        freezer.thaw(_pid(node), self._folder.cgroup(name))
        node.frozen = False
        self._show(node)

    def lose(self, request: Lose) -> None:
        for way in ways(self._spec, request.node, request.to, request.network, request.direction):
            if request.percent:
                self._losses[way] = request.percent
            else:
                self._losses.pop(way, None)
        self._apply_losses()

    def fill_disk(self, name: str) -> None:
        """Shrink the node's file system to what it holds: full at once, and no memory is spent on ballast."""
        disk = self._own_disk(name)
        rootfs.resize_disk(disk, max(rootfs.used_bytes(disk), os.sysconf("SC_PAGE_SIZE")))

    def free_disk(self, name: str) -> None:
        rootfs.resize_disk(self._own_disk(name), self._spec.disk_size_bytes)

    def bury_dead(self) -> None:
        """Notice the nodes that ended on their own, such as by a reboot(2) inside."""
        self._uncollected = {pid for pid in self._uncollected if not _has_ended(pid)}
        for node in self._nodes.values():
            if node.pid is not None and _has_ended(node.pid):
                self._forget(node)

    def destroy(self) -> None:
        self._kill([node for node in self._nodes.values() if node.pid is not None])
        if self._folder.cgroup_link.is_symlink():
            freezer.remove_cgroup(self._folder.cgroup_link.readlink())
        rootfs.leave_keeper(self._folder.mounts)

    def _make_cgroup(self) -> None:
        group = freezer.lab_cgroup(self._spec.name)
        if group is not None:
            self._folder.cgroup_link.symlink_to(group)

    def _node(self, name: str) -> Node:
        return self._nodes[self._spec.machine(name).name]

    def _alive(self, name: str) -> Node:
        node = self._node(name)
        if node.pid is None:
            raise LabError(f"{name} is crashed; boot it first: lab start {name}")
        return node

    def _own_disk(self, name: str) -> rootfs.Disk:
        if self._spec.disk is not None:
            raise LabError("with --disk the nodes share the host's file system, which is not filled; leave --disk out")
        return self._node(name).disk

    def _boot(self, nodes: Iterable[Node]) -> None:
        births: list[Birth] = []
        try:
            for node in nodes:
                births.append(self._conceive(node))
            for birth in births:
                birth.expect("namespaces")
                wires.plug(self._spec, birth.machine, birth.pid)
                birth.go()
            for birth in births:
                birth.expect("ready")
        except BaseException:
            self._kill([self._nodes[birth.machine.name] for birth in births])
            raise
        for birth in births:
            birth.link.close()
            self._show(self._nodes[birth.machine.name])

    def _conceive(self, node: Node) -> Birth:
        group = self._folder.cgroup(node.machine.name)
        birth = boot.conceive(Ground(self._spec, self._lower, group is not None), node.machine, node.disk)
        node.pid = birth.pid
        if group is not None and freezer.make_cgroup(group):
            freezer.join_cgroup(group, birth.pid)
        return birth

    def _kill(self, nodes: list[Node]) -> None:
        """No goodbye: the processes first, then the cables, so that no node can speak as it goes."""
        for node in nodes:
            self._folder.entry(node.machine.name).unlink(missing_ok=True)
            os.kill(_pid(node), signal.SIGKILL)
        for node in nodes:
            if not _wait_end(node):
                self._uncollected.add(_pid(node))
            self._forget(node)

    def _forget(self, node: Node) -> None:
        node.pid, node.frozen = None, False
        self._folder.entry(node.machine.name).unlink(missing_ok=True)
        wires.unplug(self._spec, node.machine)
        group = self._folder.cgroup(node.machine.name)
        if group is not None:
            freezer.remove_cgroup(group)
        if node.silent:
            node.silent = False
            self._apply_losses()

    def _show(self, node: Node) -> None:
        self._folder.write_entry(node.machine.name, _pid(node), node.state)

    def _apply_losses(self) -> None:
        silent = [name for name, node in self._nodes.items() if node.silent]
        load(ruleset(self._losses, [(name, network) for name in silent for network in range(self._spec.networks)]))

    def _status(self, node: Node) -> NodeStatus:
        networks = range(self._spec.networks)
        return NodeStatus(
            name=node.machine.name,
            role=node.machine.role,
            state=node.state,
            pid=node.pid,
            ipv4=tuple(IPv4Address(layout.ipv4(node.machine, network)) for network in networks),
            ipv6=tuple(IPv6Address(layout.ipv6(node.machine, network)) for network in networks if self._spec.ipv6),
        )


def _pid(node: Node) -> int:
    assert node.pid is not None, f"{node.machine.name} has no init"
    return node.pid


def _has_ended(pid: int) -> bool:
    """Also collects the process."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _wait_end(node: Node) -> bool:
    """Return when nothing of the node runs any more; False if its init waits for a stranger to collect its dead child.

    pid_namespaces(7): an init does not end before the last process of its namespace has been waited for.
    """
    pid = _pid(node)
    deadline = time.monotonic() + _DEATH_S
    patience = time.monotonic() + _COLLECT_S
    while not _has_ended(pid):
        if time.monotonic() > patience and set(freezer.processes(pid)) <= {pid}:
            return False
        if time.monotonic() > deadline:
            raise LabError(f"{node.machine.name} has not ended {_DEATH_S:.0f} s after SIGKILL; see ps for state D")
        time.sleep(_POLL_S)
    return True
