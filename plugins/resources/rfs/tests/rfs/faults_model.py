"""What goes wrong in a history, and what must hold at its end."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from safekit_resource_rfs.sender import Sender, State

from .history_model import BrokenPromiseError
from .machine_model import Machine, Variant
from .world_model import SHIPPED, Cluster

FAULTS_S = 1.5
MAX_HEAL_S = 15.0


class Faults:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.random: Random = cluster.random
        kinds: list[Callable[[], None]] = [self._kill, self._kill, self._lose_power, self._lose_power, self._cut]
        kinds += [self._cut, self._silence, self._both_lose_power, self._network_down, cluster.swap, cluster.swap]
        if self.random.random() < 0.3:
            kinds += [cluster.force, cluster.force, self._lose_power]
        self._kinds = kinds
        self._at_milestones = self.random.choice((0.0, 0.0, 0.03, 0.1))
        cluster.on_milestone = self._milestone

    def _milestone(self) -> None:
        """Something just goes on that a fault must not harm."""
        if not self.cluster.faults_end and self.random.random() < self._at_milestones:
            kind = self.random.choice(
                (self._kill, self._lose_power, self._lose_power, self._cut, self._both_lose_power)
            )
            self.cluster.later(self.random.choice((0.0, 0.0005, 0.003, 0.02)), kind)

    def go_on(self) -> None:
        cluster = self.cluster
        if cluster.faults_end:
            return
        self.random.choice(self._kinds)()
        cluster.later(self.random.choice((0.005, 0.02, 0.1, 0.25)), self.go_on)

    def _some(self) -> Machine:
        return self.random.choice(self.cluster.machines)

    def _kill(self) -> None:
        machine = self._some()
        if machine.process is not None:
            self.cluster.note(f"fault: the data path of {machine.name} is killed")
            machine.kill()

    def _lose_power(self) -> None:
        self._off(self._some())

    def _off(self, machine: Machine) -> None:
        if not machine.is_on:
            return
        self.cluster.note(f"fault: {machine.name} loses power")
        machine.lose_power()
        self.cluster.later(self.random.choice((0.01, 0.1, 0.4)), lambda: self._on(machine))

    def _on(self, machine: Machine) -> None:
        self.cluster.note(f"{machine.name} is on again")
        machine.is_on = True

    def _both_lose_power(self) -> None:
        for machine in self.cluster.machines:
            self._off(machine)

    def _cut(self) -> None:
        process = self.cluster.machines[0].process
        if process is not None and process.connection is not None:
            self.cluster.note("fault: the connection is cut")
            process.connection.cut()

    def _silence(self) -> None:
        process = self.cluster.machines[0].process
        if process is not None and process.connection is not None:
            self.cluster.note("fault: the connection is silent")
            process.connection.is_silent = True

    def _network_down(self) -> None:
        self.cluster.note("fault: the network is down")
        self.cluster.network_is_up = False
        self._cut()
        self.cluster.later(self.random.choice((0.05, 0.5)), self._network_up)

    def _network_up(self) -> None:
        self.cluster.network_is_up = True


class Refusals:
    """Disks of secondaries that are full for a while. With a chance of its own, so that histories without it stay."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.random = Random(seed + 1_000_003)

    def go_on(self) -> None:
        for machine in self.cluster.machines:
            is_full = not self.cluster.faults_end and self.random.random() < 0.4
            machine.refuses = (lambda: self.random.random() < 0.3) if is_full else None
        self.cluster.later(self.random.choice((0.02, 0.1, 0.3)), self.go_on)


class FailingSyncs:
    """Disks that refuse some of the data at times. With a chance of its own."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.random = Random(seed + 2_000_003)

    def go_on(self) -> None:
        for machine in self.cluster.machines:
            fails = not self.cluster.faults_end and self.random.random() < 0.3
            machine.refuses_syncs = (lambda: self.random.random() < 0.4) if fails else lambda: False
        self.cluster.later(self.random.choice((0.02, 0.1, 0.3)), self.go_on)


def run_seed(seed: int, variant: Variant = SHIPPED, *, refuses: bool = False, fails_to_sync: bool = False) -> Cluster:
    """BrokenPromiseError, with the history, when something did not hold. `refuses`: disks of what has to be durable are
    full at times. `fails_to_sync`: disks of the data fail."""
    cluster = Cluster(seed, variant)
    if fails_to_sync:
        FailingSyncs(cluster, seed).go_on()
    if refuses:
        Refusals(cluster, seed).go_on()
    try:
        cluster.begin()
        cluster.run(cluster.random.choice((0.05, 0.4)))
        cluster.later(0.0, Faults(cluster).go_on)
        cluster.run(cluster.now_s + FAULTS_S)
        _heal(cluster)
    except Exception as error:
        history = "\n".join(cluster.notes)
        raise BrokenPromiseError(
            f"seed {seed}, mode {cluster.history.mode}, {variant.name}: {error!r}\n{history}"
        ) from error
    return cluster


def _heal(cluster: Cluster) -> None:
    cluster.faults_end = True
    cluster.note("faults end")
    cluster.run(cluster.now_s + 0.3)
    cluster.is_busy = False
    deadline_s = cluster.now_s + MAX_HEAL_S
    while not _is_calm(cluster):
        if cluster.now_s > deadline_s:
            raise BrokenPromiseError("both nodes are there, and are not paired")
        cluster.run(cluster.now_s + 0.1)
    for machine in cluster.machines:
        if not machine.is_on:
            raise BrokenPromiseError(f"{machine.name} is off")
    a, b = (machine.files.fingerprint(times=True) for machine in cluster.machines)
    if a != b:
        only = [(one, other) for one, other in zip(a, b, strict=False) if one != other][:3]
        missing = sorted({each[0] for each in a} ^ {each[0] for each in b})
        raise BrokenPromiseError(f"both nodes are paired, and differ: {only} {missing}")


def _is_calm(cluster: Cluster) -> bool:
    primary = cluster.primary
    if primary is None or primary.process is None or cluster.promoting or not cluster.network_is_up:
        return False
    sender = primary.process.core
    assert isinstance(sender, Sender)
    application = cluster.application
    if application is None or application._dirty or application._waiting:
        return False
    return sender.state is State.PAIRED and sender.is_calm
