"""The file system of a node: the host's root below, the node's own changes above, everything volatile its own."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import kernel
from .layout import Bind, LabSpec, Machine, hosts_file, machine_id

_VOLATILE = (Path("/dev"), Path("/proc"), Path("/run"), Path("/sys"), Path("/tmp"))
_DEVICES = (
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "net/tun",
    "fuse",
    "kvm",
    "vhost-net",
)
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


@dataclass(frozen=True, slots=True)
class Disk:
    """Where a node's changes live; it outlives the node, as a disk does."""

    path: Path

    @property
    def upper(self) -> Path:
        return self.path / "upper"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def root(self) -> Path:
        return self.path / "root"

    def format(self) -> None:
        for folder in (self.upper, self.work, self.root):
            folder.mkdir(parents=True, exist_ok=True)


def prepare_keeper(mounts: Path) -> Path:
    """In a mount namespace of the caller's own, make the room for disks; return the lower directory of all nodes."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    mounts.mkdir(exist_ok=True)
    kernel.mount("tmpfs", mounts, "tmpfs", options="mode=700,size=16M")
    lower = mounts / "lower"
    lower.mkdir()
    kernel.mount("/", lower, flags=kernel.MS_BIND)
    kernel.mount("none", lower, flags=kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY)
    return lower


def leave_keeper(mounts: Path) -> None:
    """Take the disks and the lower directory out of the tree before anything is deleted around them."""
    if os.path.ismount(mounts):
        kernel.detach(mounts)


def make_disk(spec: LabSpec, machine: Machine, mounts: Path) -> Disk:
    """A tmpfs of the asked size, or a directory of the host's own disk when the lab was given one."""
    if spec.disk is not None:
        disk = Disk(spec.disk / spec.name / machine.name)
    else:
        disk = Disk(mounts / machine.name)
        disk.path.mkdir()
        kernel.mount("tmpfs", disk.path, "tmpfs", options=f"mode=700,size={spec.disk_size_bytes}")
    disk.format()
    return disk


def resize_disk(disk: Disk, size_bytes: int) -> None:
    kernel.mount("tmpfs", disk.path, "tmpfs", kernel.MS_REMOUNT, f"size={size_bytes}")


def used_bytes(disk: Disk) -> int:
    usage = os.statvfs(disk.path)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize


def enter(spec: LabSpec, machine: Machine, lower: Path, disk: Disk, *, cgroup: bool) -> None:
    """Build the node's tree and make it the root of this process. Call as pid 1 of the node's namespaces."""
    layers = f"lowerdir={lower},upperdir={disk.upper},workdir={disk.work},redirect_dir=on"
    kernel.mount("overlay", disk.root, "overlay", options=layers)
    binds = [*_needed_binds(), *spec.binds]
    _mount_volatile(disk.root, cgroup=cgroup)
    for bind in binds:
        if _is_installed_into(bind):
            _lay_over(disk, bind)
        else:
            _bind(disk.root, bind)
    _write_identity(disk.root, spec, machine)
    kernel.swap_root(disk.root)


def _mount_volatile(root: Path, *, cgroup: bool) -> None:
    for folder in _VOLATILE:
        (root / folder.relative_to("/")).mkdir(exist_ok=True)
    guarded = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("proc", root / "proc", "proc", guarded | kernel.MS_NOEXEC)
    kernel.mount("sysfs", root / "sys", "sysfs", guarded | kernel.MS_NOEXEC)
    if cgroup:
        kernel.mount("cgroup2", root / "sys/fs/cgroup", "cgroup2", guarded | kernel.MS_NOEXEC)
    kernel.mount("tmpfs", root / "run", "tmpfs", guarded, "mode=755")
    (root / "run/lock").mkdir()
    kernel.mount("tmpfs", root / "tmp", "tmpfs", guarded, "mode=1777")
    kernel.mount("tmpfs", root / "dev", "tmpfs", kernel.MS_NOSUID, "mode=755,size=1M")
    _fill_dev(root / "dev")


def _fill_dev(dev: Path) -> None:
    for name in _DEVICES:
        _copy_device(Path("/dev") / name, dev / name)
    for name, target in _DEVICE_LINKS.items():
        (dev / name).symlink_to(target)
    for folder in ("pts", "shm"):
        (dev / folder).mkdir()
    kernel.mount("devpts", dev / "pts", "devpts", kernel.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620,gid=5")
    kernel.mount("tmpfs", dev / "shm", "tmpfs", kernel.MS_NOSUID, "mode=1777")


def _copy_device(host: Path, node: Path) -> None:
    """Do nothing for a device that the host lacks."""
    try:
        found = host.stat()
    except FileNotFoundError:
        return
    if stat.S_ISCHR(found.st_mode):
        node.parent.mkdir(exist_ok=True)
        os.mknod(node, found.st_mode, found.st_rdev)
        node.chmod(found.st_mode & 0o7777)


def _needed_binds() -> list[Bind]:
    """What the running Python lives on and the overlay does not show: other mounts of the host, /tmp and /run."""
    entries = (sys.prefix, sys.base_prefix, *sys.path, str(Path(__file__).parent))
    paths = {Path(entry).resolve() for entry in entries if entry}
    hidden = sorted(path for path in paths if path.exists() and _hidden_from_overlay(path))
    return [Bind(source=path, target=path) for path in _outermost(hidden)]


def _hidden_from_overlay(path: Path) -> bool:
    return path.stat().st_dev != Path("/").stat().st_dev or any(path.is_relative_to(top) for top in _VOLATILE)


def _outermost(ordered: Iterable[Path]) -> Iterator[Path]:
    last: Path | None = None
    for path in ordered:
        if last is None or not path.is_relative_to(last):
            last = path
            yield path


def _is_installed_into(bind: Bind) -> bool:
    """It holds the Python environment: what a node installs there is the node's own, as anywhere else."""
    return bind.source.is_dir() and Path(sys.prefix).resolve().is_relative_to(bind.source) and not bind.writable


def _lay_over(disk: Disk, bind: Bind) -> None:
    target = disk.root / bind.target.relative_to("/")
    upper, work = disk.path / "python", disk.path / "python-work"
    for folder in (target, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={bind.source},upperdir={upper},workdir={work}"
    kernel.mount("overlay", target, "overlay", options=layers)


def _bind(root: Path, bind: Bind) -> None:
    target = root / bind.target.relative_to("/")
    if bind.source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(bind.source, target, flags=kernel.MS_BIND | kernel.MS_REC)
    if not bind.writable:
        kernel.mount("none", target, flags=kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY)


def _write_identity(root: Path, spec: LabSpec, machine: Machine) -> None:
    etc = root / "etc"
    for name, text in {
        "hostname": f"{machine.name}\n",
        "hosts": hosts_file(spec),
        "machine-id": f"{machine_id(spec, machine)}\n",
    }.items():
        file = etc / name
        file.unlink(missing_ok=True)
        file.write_text(text)
