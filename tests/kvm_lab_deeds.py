"""What goes wrong with a guest in the midst of a move or a resync. Each returns with both nodes up."""

from __future__ import annotations

from kvm_lab import BOOT_S, NAME, Host, answers, running, set_step, tell
from lab_cluster import SAFEKIT, Cluster

from safekit_lab.node import Node


def is_being_written(host: Host, node: Node) -> bool:
    """Whether the guest's memory is."""
    return host.image(node, ".vm1.memory.part").exists()


def begin_swap(made: Cluster, host: Host) -> tuple[Node, Node]:
    """The nodes that the guest leaves and goes to, while it is on its way."""
    primary, secondary = made.roles(NAME)
    secondary.start([SAFEKIT, "module", "swap", NAME])
    made.wait(lambda: is_being_written(host, primary), "its memory is being written", BOOT_S)
    return primary, secondary


def crash_as_it_leaves(made: Cluster, host: Host) -> None:
    primary, secondary = begin_swap(made, host)
    made.follow_crash(primary, secondary)
    host.power_on(made, primary)


def crash_where_it_goes(made: Cluster, host: Host) -> None:
    _, secondary = begin_swap(made, host)
    secondary.crash()
    made.wait(lambda: answers(made), "the guest answers", BOOT_S)
    host.power_on(made, secondary)


def crash_as_it_goes_on(made: Cluster, host: Host) -> None:
    """Its memory is taken, the guest about to run: it boots on the other node, where nobody can take it again."""
    primary, secondary = begin_swap(made, host)
    made.wait(lambda: running(secondary) != [], "QEMU is started there", BOOT_S)
    made.follow_crash(secondary, primary)
    host.power_on(made, secondary)


def kill_as_it_leaves(made: Cluster, host: Host) -> None:
    primary, secondary = begin_swap(made, host)
    made.kill_processes(primary, "qemu-system-x86")
    made.wait_state(secondary, NAME, "PRIM/Ready", timeout_s=BOOT_S)


def begin_resync(made: Cluster, host: Host) -> tuple[Node, Node]:
    """Of much that the guest wrote while the secondary was away, slowly: the nodes while it goes on."""
    primary, secondary = made.roles(NAME)
    secondary.crash()
    made.wait_state(primary, NAME, "ALONE/Ready")
    assert int(tell(made.lab.client(), "measure direct 1048576 40 a", timeout_s=60.0)) > 0
    host.power_on(made, secondary)
    made.wait(
        lambda: "syncing" in primary.run([SAFEKIT, "rfs", "status", NAME], check=False).stdout, "it resyncs", 60.0
    )
    return primary, secondary


def crash_the_receiver_of_a_resync(made: Cluster, host: Host) -> None:
    _, secondary = begin_resync(made, host)
    secondary.crash()
    host.power_on(made, secondary)


def crash_the_source_of_a_resync(made: Cluster, host: Host) -> None:
    """The other one lacks what was acknowledged: it waits for this one."""
    primary, secondary = begin_resync(made, host)
    primary.crash()
    made.wait(lambda: made.module_state(secondary, NAME).startswith("WAIT"), "the other one waits", 60.0)
    assert running(secondary) == []
    host.power_on(made, primary)


def crash_where_it_goes_as_it_shuts_down(made: Cluster, host: Host) -> None:
    """It hangs and is to be booted there, so it would be waited for. Who is left does not wait, and boots it here."""
    set_step(made, "kvm-vm", move="0s", shutdown="60s")
    primary, secondary = made.roles(NAME)
    tell(made.lab.client(), "hang", timeout_s=1.0)
    secondary.start([SAFEKIT, "module", "swap", NAME])
    made.wait(lambda: made.module_state(primary, NAME).startswith("SECOND"), "it is being shut down", BOOT_S)
    secondary.crash()
    made.wait(lambda: "'swap-out', which is broken off" in _log(primary), "the swap is broken off", BOOT_S)
    made.wait(lambda: answers(made), "the guest answers", BOOT_S)
    host.power_on(made, secondary)


def _log(node: Node) -> str:
    return node.run([SAFEKIT, "log", NAME, "--last", "50", "--output", "json"]).stdout
