"""A libvirtd of the tests' own: its mounts hide the machine's configuration and state, its socket is in a directory of
its own. What it starts is a real QEMU, without a system inside: the firmware finds no disk to boot from, and waits."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safekit_resource_kvm_vm.libvirt import clean_environment

BOUND_S = 30.0
SETTINGS = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
"""
DAEMON = """\
unix_sock_dir = "{0}"
auth_unix_rw = "none"
"""
USER = "libvirt-qemu"
"""Whom libvirt looks for, even where it is told another one."""
SETUP = f"""\
set -e
mount --make-rprivate /
for place in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt; do
  mkdir -p $place; mount -t tmpfs none $place
done
cp $1/qemu.conf /etc/libvirt/
for table in passwd group; do
  grep -q '^{USER}:' /etc/$table || {{
    cp /etc/$table $1/$table
    case $table in passwd) rest=991:991::/:/bin/false;; *) rest=991:;; esac
    echo "{USER}:x:$rest" >> $1/$table; mount --bind $1/$table /etc/$table
  }}
done
exec libvirtd --config $1/libvirtd.conf
"""
MACHINE = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{image}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {more}
  </devices>
</domain>
"""


@dataclass(frozen=True, slots=True)
class Libvirtd:
    place: Path

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.place}/libvirt-sock"

    def virsh(self, *words: str) -> str:
        argv = ["virsh", "--quiet", "--connect", self.uri, *words]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env=clean_environment(), timeout=60)
        return done.stdout.strip()


@contextmanager
def libvirtd() -> Iterator[Libvirtd]:
    with tempfile.TemporaryDirectory(prefix="libvirtd-") as folder:
        made = Libvirtd(Path(folder))
        (made.place / "qemu.conf").write_text(SETTINGS)
        (made.place / "libvirtd.conf").write_text(DAEMON.format(folder))
        with (made.place / "log").open("w") as log:
            argv = ["unshare", "--mount", "sh", "-c", SETUP, "sh", folder]
            serving = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait(made, serving)
            yield made
        finally:
            serving.terminate()
            serving.wait(BOUND_S)


def _wait(made: Libvirtd, serving: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + BOUND_S
    argv = ["virsh", "--connect", made.uri, "uri"]
    while subprocess.run(argv, capture_output=True, check=False, env=clean_environment()).returncode != 0:
        assert serving.poll() is None, (made.place / "log").read_text()
        assert time.monotonic() < deadline_s, (made.place / "log").read_text()


def machine(folder: Path, name: str, number: int = 1, more: str = "") -> str:
    """The definition of one whose disk is in the folder."""
    image = folder / f"{name}.img"
    if not image.exists():
        image.touch()
        os.truncate(image, 1 << 20)
    return MACHINE.format(name=name, uuid=f"6f1f8f5e-0002-4c52-9d55-{number:012x}", image=image, more=more)
