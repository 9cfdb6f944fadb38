"""Virtual machines on nodes of the lab: a small real guest, libvirt's daemon in each node, a bridge to the network.

The guest is Debian's kernel for clouds with one static program (kvm_guest.c) and Debian's qemu-guest-agent. Its parts
are fetched once and kept below build/, by version.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lab_cluster
from kvm_lab_accelerator import accelerator, provide
from lab_cluster import SAFEKIT, Cluster, change_file
from ruamel.yaml import YAML

from safekit_lab import Bind
from safekit_lab.node import Node

NAME = "web"
"""Of the module, so that what lab_cluster does to `web` can be done to it."""
BOOT_S = 90.0
PORT = 4700
ADDRESS = "10.77.0.50"
DIRECTORY = "/srv/vm1"
IMAGE = f"{DIRECTORY}/vm1.img"
DISK_BYTES = 64 << 20
UUID = "6f1f8f5e-0001-4c52-9d55-5afe51700001"
HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "kvm"
_GUEST = Path("/srv/guest")
"""Where every node sees the guest's kernel: this checkout may lie where a node has a directory of its own."""
_DISKS = Path("/srv/disks")
_SMALL = Path("/srv/small")
_RECORD = struct.Struct("<QQQ40sQ440x")
_MAGIC = 0x3144524F43455221
_LEDGER_BYTES = 8 << 20
_MODULES = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_console",
    "pvpanic",
    "pvpanic-mmio",
    "button",
    "evdev",
]
_PARAMETERS = "console=ttyS0 panic=60 quiet nokaslr mitigations=off no_timer_check random.trust_cpu=on guest.watchdog=4"
_SETTINGS = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
"""
"""As root, and without what the lab's nodes have not."""


@dataclass(frozen=True, slots=True)
class Guest:
    kernel: Path
    initrd: Path

    @property
    def bind(self) -> Bind:
        return Bind(source=self.kernel.parent, target=_GUEST)

    def definition(
        self,
        name: str = "vm1",
        *,
        image: str = IMAGE,
        driver: str = "type='raw' cache='none'",
        uuid: str = UUID,
        address: str = ADDRESS,
        watchdog: str = "pause",
        bridge: str = "vmbr0",
    ) -> str:
        mac = "52:54:00:" + ":".join(f"{int(part):02x}" for part in address.split(".")[1:])
        source = f"<mac address='{mac}'/><source bridge='{bridge}'/><model type='virtio'/>"
        nic = f"<interface type='bridge'>{source}</interface>"
        return f"""\
<domain type='{accelerator()}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
    <kernel>{_GUEST}/{self.kernel.name}</kernel>
    <initrd>{_GUEST}/{self.initrd.name}</initrd>
    <cmdline>{_PARAMETERS} guest.address={address}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>preserve</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' {driver}/>
      <source file='{image}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    {nic if bridge else ""}
    <serial type='file'><source path='/var/log/{name}.serial'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <panic model='isa'/>
    {f"<watchdog model='i6300esb' action='{watchdog}'/>" if watchdog else ""}
    <memballoon model='none'/>
  </devices>
</domain>
"""


@functools.cache
def guest() -> Guest:
    """Built when it is not there yet, or its program has changed."""
    kernel_package = _dependency("linux-image-cloud-amd64")
    place = BUILD / f"{kernel_package}-{zlib.crc32((HERE / 'kvm_guest.c').read_bytes()):08x}"
    if not (place / "initrd").exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            _build(Path(folder), kernel_package)
            shutil.rmtree(place, ignore_errors=True)
            (Path(folder) / "made").rename(place)
    return Guest(place / "kernel", place / "initrd")


def _dependency(package: str) -> str:
    shown = subprocess.run(["apt-cache", "depends", package], check=True, capture_output=True, text=True).stdout
    return str(re.findall(r"Depends: (linux-image-\S+)", shown)[0])


def _build(folder: Path, kernel_package: str) -> None:
    for package in (kernel_package, "qemu-guest-agent"):
        subprocess.run(["apt-get", "-qq", "download", package], cwd=folder, check=True, capture_output=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, folder / "unpacked"], check=True)
    root, made = folder / "root", folder / "made"
    for name in ("modules", "agent", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True)
    compiler = ["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-pthread"]
    subprocess.run([*compiler, "-o", root / "init", HERE / "kvm_guest.c"], check=True)
    for name in _MODULES:
        shutil.copy(next((folder / "unpacked/lib/modules").rglob(f"{name}.ko")), root / "modules")
    agent = folder / "unpacked/usr/sbin/qemu-ga"
    libraries = subprocess.run(["ldd", agent], check=True, capture_output=True, text=True).stdout
    for path in (str(agent), *re.findall(r"(/\S+) \(", libraries)):
        shutil.copy(path, root / "agent" / ("ld.so" if "ld-linux" in path else Path(path).name))
    made.mkdir()
    shutil.copy(next((folder / "unpacked/boot").glob("vmlinuz-*")), made / "kernel")
    names = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
    with (made / "initrd").open("wb") as initrd:
        pack = ["cpio", "-o", "-H", "newc", "--quiet"]
        subprocess.run(pack, cwd=root, input=names.encode(), stdout=initrd, check=True)


@dataclass(frozen=True, slots=True)
class Host:
    """What each node needs to run guests; its disk outlives its power."""

    place: Path

    @property
    def bind(self) -> Bind:
        return Bind(source=self.place, target=_DISKS, writable=True)

    def prepare(self, made: Cluster, node: Node, directory: str = DIRECTORY) -> None:
        """After each boot, before safekitd: the disk, the bridge, libvirt's daemon."""
        (self.place / node.name).mkdir(exist_ok=True)
        node.run(["mkdir", "-p", directory])
        node.run(["mount", "--bind", f"{_DISKS}/{node.name}", directory])
        address = f"{node.address()}/24"
        for words in (
            f"link add vmbr0 address {_mac(node)} type bridge",
            f"address del {address} dev eth0",
            "link set eth0 master vmbr0",
            f"address add {address} dev vmbr0",
            "link set vmbr0 up",
        ):
            node.run(["ip", *words.split()])
        provide(node)
        made.write(node, "/etc/libvirt/qemu.conf", _SETTINGS)
        node.run(["mkdir", "-p", "/var/log/libvirt"])
        if node.run(["id", "libvirt-qemu"], check=False).returncode != 0:
            node.run(["useradd", "--system", "--user-group", "libvirt-qemu"])
        node.run(["libvirtd", "--daemon"])
        made.wait(lambda: node.run(["virsh", "uri"], check=False).returncode == 0, "libvirtd answers")

    def power_on(self, made: Cluster, node: Node) -> None:
        node.boot()
        self.prepare(made, node)
        made.safekit(node, "daemon", "start")

    def image(self, node: Node, name: str = "vm1.img") -> Path:
        return self.place / node.name / name


def _mac(node: Node) -> str:
    return node.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()


@contextmanager
def hosts() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="kvm-", dir="/var/tmp") as folder:
        yield Host(Path(folder))


@contextmanager
def cluster(clients: int = 1, binds: Sequence[Bind] = ()) -> Iterator[tuple[Cluster, Host]]:
    """Two nodes that can run guests."""
    with (
        hosts() as host,
        lab_cluster.cluster(clients=clients, binds=[host.bind, guest().bind, *binds], formed=False) as made,
    ):
        for node in made.nodes:
            host.prepare(made, node)
        made.form()
        yield made, host


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk of a node that is full soon; the replicated directory is a part of it."""

    place: Path

    @property
    def bind(self) -> Bind:
        return Bind(source=self.place, target=_SMALL, writable=True)

    @property
    def image(self) -> Path:
        return self.place / "vm1" / "vm1.img"

    def use(self, node: Node) -> None:
        (self.place / "vm1").mkdir()
        node.run(["mount", "--bind", f"{_SMALL}/vm1", DIRECTORY])

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.place / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def free(self) -> None:
        (self.place / "filler").unlink()


@contextmanager
def small_disk(size: str) -> Iterator[SmallDisk]:
    with tempfile.TemporaryDirectory(prefix="kvm-small-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@dataclass(frozen=True, slots=True)
class Record:
    number: int
    boot: str


def records(image: Path) -> list[Record]:
    """What is in a ledger, in order, up to the first record that is not whole."""
    found = []
    with image.open("rb") as disk:
        for sequence in range(_LEDGER_BYTES // _RECORD.size):
            sector = disk.read(_RECORD.size)
            if len(sector) < _RECORD.size:
                break
            magic, at, number, boot, checksum = _RECORD.unpack(sector)
            if magic != _MAGIC or at != sequence or checksum != _checksum(sector[:64]):
                break
            found.append(Record(number, boot.rstrip(b"\0").decode()))
    return found


def _checksum(content: bytes) -> int:
    total = 14695981039346656037
    for byte in content:
        total = ((total ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return total


def tell(node: Node, order: str, address: str = ADDRESS, timeout_s: float = 5.0) -> str:
    """Say a line to the guest, from a node of the lab; its answer, or nothing."""
    program = (
        "import socket, sys\n"
        f"s = socket.create_connection(({address!r}, {PORT}), {timeout_s})\n"
        f"s.sendall(({order!r} + chr(10)).encode())\n"
        "sys.stdout.write(s.makefile().readline())\n"
    )
    return node.run(["python3", "-c", program], check=False, timeout_s=timeout_s + 5.0).stdout.strip()


def running(node: Node) -> list[str]:
    """The process ids of its guests."""
    return node.run(["pgrep", "-f", "qemu-system"], check=False).stdout.split()


AVAILABLE = "isolation: availability\n"
"""For a lab whose nodes have no witness, and faults that leave one of them in no doubt."""


def add(made: Cluster, more: str = AVAILABLE, watchdog: str = "pause", bandwidth: str = "0") -> None:
    """What a user types who has a domain on his first node, until the guest answers and both nodes have its disk.
    `bandwidth`: of a resync."""
    first, second = made.nodes
    first.run(["truncate", "-s", str(DISK_BYTES), IMAGE])
    made.write(first, "/opt/vm1.xml", guest().definition(watchdog=watchdog))
    first.run(["virsh", "define", "/opt/vm1.xml"])
    first.run(["virsh", "autostart", "vm1"])
    made.safekit(first, "module", "add", NAME, "--app", "kvm", "--set", "domain=vm1")
    change_file(made, first, lambda text: _quick(text) + more, NAME)
    if bandwidth != "0":
        set_step(made, "rfs", bandwidth=bandwidth)
    made.safekit(first, "module", "prim", NAME, "--force")
    made.safekit(second, "module", "start", NAME)
    made.wait(lambda: answers(made), "the guest answers", BOOT_S)
    made.wait(lambda: is_paired(made), "the secondary has everything", 60.0)


def _quick(text: str) -> str:
    """For a guest that boots in seconds."""
    found = re.sub(
        r"domain: vm1$", "domain: vm1\n      shutdown: 20s\n      interval: 1s\n      timeout: 2s", text, flags=re.M
    )
    return f"{found}heartbeat: {{interval: 50ms, lost_after: 1s}}\n"


def answers(made: Cluster) -> bool:
    return tell(made.lab.client(), "boot", timeout_s=1.0) != ""


def is_paired(made: Cluster) -> bool:
    primary = made.primary(NAME)
    shown = primary.run([SAFEKIT, "rfs", "status", NAME], check=False).stdout if primary else ""
    return "paired" in shown and made.is_well(NAME)


def kill_qemu(made: Cluster, host: Host) -> None:
    primary, _ = made.roles(NAME)
    made.kill_processes(primary, "qemu-system-x86")


def crash(made: Cluster, host: Host) -> None:
    primary, survivor = made.roles(NAME)
    made.follow_crash(primary, survivor)
    host.power_on(made, primary)


def swap(made: Cluster, host: Host) -> None:
    _, secondary = made.roles(NAME)
    made.safekit(secondary, "module", "swap", NAME)
    made.wait_state(secondary, NAME, "PRIM/Ready", timeout_s=BOOT_S)


def set_step(made: Cluster, step: str, name: str = NAME, **settings: object) -> None:
    """Other settings of a step of the module, on both nodes."""

    def changed(text: str) -> str:
        module = YAML(typ="safe", pure=True).load(text)
        next(entry[step] for entry in module["pipeline"] if step in entry).update(settings)
        return json.dumps(module)

    change_file(made, made.nodes[0], changed, name)


def boot(made: Cluster) -> str:
    """Which start of the guest it is that answers now."""
    return tell(made.lab.client(), "boot")
