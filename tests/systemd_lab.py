"""Nodes of the lab whose first process is Debian's systemd: it boots, starts units, and is rebooted.

It runs in namespaces of its own within the node, on the node's disk and cables. Of the services that this machine
happens to have none is enabled. The node's network is a unit, and so is the mount of its disk: when the machine goes
down both go as they do on a real one.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from lab_cluster import FailedError
from ledger import Disks

from safekit_lab import Bind, Lab, LabError
from safekit_lab.node import Node
from safekit_lab.process import Process
from safekit_lab.terms import NodeState

BOOT_S = 60.0
DOWN_S = 120.0
DATA = "/srv/data"
"""The mount of the node's own disk."""
_ENDED = {"reboot": -signal.SIGHUP, "poweroff": -signal.SIGINT}
"""reboot(2) in a pid namespace: how its first process ends."""
_MASKED = (
    "console-getty.service", "e2scrub_reap.service", "getty.target", "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "systemd-modules-load.service",
    "systemd-sysctl.service", "systemd-timesyncd.service", "systemd-udevd.service", "systemd-udev-trigger.service",
)  # fmt: skip
"""What is the host's, not the node's."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Of the node: nothing of the environment that runs the tests."""
_UNITS = "/etc/systemd/system"
_WANTS = f"{_UNITS}/multi-user.target.wants"
_ENABLED = f"/etc/rc[2-5].d {_UNITS}/etcd2.service {_UNITS}/redis.service"
_DISK = """\
[Mount]
What={disk}
Where=/srv/data
Type=none
Options=bind
"""
_NETWORK = """\
[Unit]
Before=network-online.target network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set eth0 up
ExecStart=ip address replace {address}/24 dev eth0
ExecStop=ip address flush dev eth0
ExecStop=ip link set eth0 down
"""
_INIT = f"""\
exec unshare --pid --mount --ipc --fork --kill-child --mount-proc sh -ec '
mkdir -p /sys/fs/cgroup/machine
echo 0 >/sys/fs/cgroup/machine/cgroup.procs
exec unshare --cgroup sh -ec "
umount -l /sys/fs/cgroup
mount -t cgroup2 -o nosuid,nodev,noexec none /sys/fs/cgroup
mount -t tmpfs -o nosuid,nodev,mode=755 none /run
mount -t tmpfs -o nosuid,nodev,mode=1777 none /tmp
mount -o remount,bind,ro /sys
mount --bind /proc/sys/net /proc/sys/net
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec env -i PATH={_PATH} container=lab /lib/systemd/systemd"'
"""


class Machine(Node):
    """A node of the lab that is one more thing: `boot` starts systemd in it. Commands run beside systemd's units."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.folder, node._spec, node._machine)
        self._init: Process | None = None
        self._pid = ""

    @property
    def state(self) -> NodeState:
        return "running" if self._init is not None and self._init.returncode is None else "crashed"

    def install(self, disks: Disks) -> None:
        """Debian as after its installation: nothing of the host's is enabled, and /srv/data is a disk of its own."""
        (disks.place / self.name).mkdir()
        super().run(["sh", "-ec", f"rm -rf {_UNITS}/*.wants {_ENABLED}; mkdir -p {DATA} {_WANTS}"])
        for unit in _MASKED:
            super().run(["ln", "-sf", "/dev/null", f"{_UNITS}/{unit}"])
        units = {
            "lab-network.service": _NETWORK.format(address=self.address()),
            "srv-data.mount": _DISK.format(disk=disks.bind.target / self.name),
        }
        for name, text in units.items():
            super().run(["tee", f"{_UNITS}/{name}"], stdin=text)
            super().run(["ln", "-s", f"{_UNITS}/{name}", _WANTS])

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
        if self.state != "running":
            raise LabError(f"{self.name} is off")
        words = ["nsenter", f"--target={self._pid}", "--mount", "--ipc", "--pid", "--cgroup", *argv]
        clean = {"PATH": _PATH, **(env or {})}
        return super().run(words, check=check, timeout_s=timeout_s, env=clean, cwd=cwd, stdin=stdin)

    def boot(self) -> None:
        """Return when systemd has started all that is enabled. FailedError for a unit that failed."""
        self._init = self.start(["sh", "-c", _INIT])
        deadline_s = time.monotonic() + BOOT_S
        while (said := self._is_up()) != "running":
            if self.state != "running" or said == "degraded" or time.monotonic() > deadline_s:
                raise FailedError(f"{self.name} did not boot: {said}\n{self._init.output}")
            time.sleep(0.1)

    def _is_up(self) -> str:
        found = super().run(["pgrep", "-o", "-f", "^/lib/systemd/systemd$"], check=False).stdout.strip()
        if not found:
            return "not begun"
        self._pid = found
        done = self.run(["systemctl", "is-system-running"], check=False)
        return done.stdout.strip() or done.stderr.strip()

    def ends(self, how: Literal["reboot", "poweroff"]) -> None:
        """Have the machine go down as an operator does; return when it is off."""
        self.run(["systemctl", "--no-block", how])
        assert self._init is not None
        ended = self._init.wait(DOWN_S)
        if ended != _ENDED[how]:
            raise FailedError(f"{self.name}: {how} ended with {ended}")

    def shown(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.run(["systemctl", "show", f"--property={name}", "--value", unit]).stdout.strip()


@contextmanager
def machines(disks: Disks, *binds: Bind) -> Iterator[tuple[Lab, tuple[Machine, Machine]]]:
    """Two of them, off, and a client."""
    with Lab.up(nodes=2, clients=1, disk_size_bytes=2 << 30, binds=[disks.bind, *binds]) as lab:
        first, second = map(Machine, lab.nodes)
        for machine in (first, second):
            machine.install(disks)
        yield lab, (first, second)
