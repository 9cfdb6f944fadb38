"""The state directory: a folder a lab, held by its keeper through a lock that the kernel drops when it ends."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import freezer
from .error import LabError


def base_dir() -> Path:
    return Path(os.environ.get("SAFEKIT_LAB_DIR", "/run/safekit-lab"))


@dataclass(frozen=True, slots=True)
class LabDir:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def log(self) -> Path:
        return self.path / "keeper.log"

    @property
    def spec(self) -> Path:
        return self.path / "lab.json"

    @property
    def mounts(self) -> Path:
        """Empty on the host: only the keeper and the nodes being born see the disks mounted below."""
        return self.path / "mounts"

    @property
    def output(self) -> Path:
        return self.path / "output"

    @property
    def lock(self) -> Path:
        return self.path / "keeper.lock"

    @property
    def cgroup_link(self) -> Path:
        """A symbolic link to the lab's group, where there is one."""
        return self.path / "cgroup"

    @property
    def disks_link(self) -> Path:
        """A symbolic link to the lab's folder under --disk."""
        return self.path / "disks"

    def entry(self, node: str) -> Path:
        """The door of a node: "PID STATE" while it runs; absent while it is crashed."""
        return self.path / "nodes" / node

    def cgroup(self, node: str) -> Path | None:
        return self.cgroup_link.readlink() / node if self.cgroup_link.is_symlink() else None

    def is_held(self) -> bool:
        """Whether a keeper lives."""
        try:
            with self.lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def write_entry(self, node: str, pid: int, state: str) -> None:
        draft = self.path / f"nodes/.{node}"
        draft.write_text(f"{pid} {state}")
        draft.replace(self.entry(node))

    def read_entry(self, node: str) -> tuple[int, str] | None:
        try:
            pid, state = self.entry(node).read_text().split()
        except FileNotFoundError:
            return None
        return int(pid), state

    def open_keeper(self) -> int:
        """A pidfd of the keeper."""
        return os.pidfd_open(int(self.lock.read_text()))


def find(name: str) -> LabDir:
    """LabError unless a lab of that name is up."""
    folder = LabDir(base_dir() / name)
    if re.fullmatch(r"[a-z0-9-]+", name) and folder.is_held():
        return folder
    up = ", ".join(lab.name for lab in labs()) or "none"
    raise LabError(f"no lab named {name!r} is up (up: {up}); start it with: lab up --name {name}")


def labs() -> list[LabDir]:
    """The labs whose keeper lives."""
    base = base_dir()
    folders = [LabDir(path) for path in sorted(base.iterdir()) if path.is_dir()] if base.is_dir() else []
    return [folder for folder in folders if folder.is_held()]


def claim(name: str) -> tuple[LabDir, int]:
    """Make the folder of a new lab; return it with the descriptor of its lock, for the keeper to hold."""
    folder = LabDir(base_dir() / name)
    with _base_lock():
        if folder.is_held():
            raise LabError(f"a lab named {name!r} is already up; choose another --name, or: lab down --name {name}")
        _remove(folder)
        for path in (folder.path / "nodes", folder.output, folder.mounts):
            path.mkdir(parents=True)
        lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)  # another's is_held() may have it for an instant
    return folder, lock


def sweep() -> list[str]:
    """Remove what labs left whose keeper was killed; return their names."""
    freezer.sweep_cgroups()
    base = base_dir()
    if not base.is_dir():
        return []
    with _base_lock():
        stale = [LabDir(path) for path in sorted(base.iterdir()) if path.is_dir() and not LabDir(path).is_held()]
        for folder in stale:
            _remove(folder)
    return [folder.name for folder in stale]


def release(folder: LabDir) -> None:
    """The keeper's last act."""
    with _base_lock():
        _remove(folder)


def _remove(folder: LabDir) -> None:
    if folder.disks_link.is_symlink():
        shutil.rmtree(folder.disks_link.readlink(), ignore_errors=True)
    if folder.path.is_dir():
        _remove_tree(folder)


def _remove_tree(folder: LabDir) -> None:
    """Never descends into the mounts folder: if something were mounted there after all, this fails instead."""
    with suppress(FileNotFoundError):
        folder.mounts.rmdir()
    shutil.rmtree(folder.path)


@contextmanager
def _base_lock() -> Iterator[None]:
    """Held for milliseconds by those who make or remove folders."""
    base_dir().mkdir(parents=True, exist_ok=True, mode=0o755)
    with (base_dir() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
