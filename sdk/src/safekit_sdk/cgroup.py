"""Control groups (version 2): what a resource starts stays in its group, whatever it forks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def unified_mount() -> Path | None:
    """Where cgroup v2 is mounted: /sys/fs/cgroup, or beside version 1 /sys/fs/cgroup/unified."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    return None


def make_cgroup(path: Path) -> Path | None:
    """The cgroup at this path, made if need be; None where this process may not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path / "cgroup.procs", os.W_OK) else None


def module_cgroup(node: str, module: str) -> Path | None:
    """The place of a module's processes, the same for every process of the node at every time. It is not within
    safekitd's own group, so that systemd ends no application when it restarts the daemon. Its memory is accounted where
    the kernel does it."""
    mount = unified_mount()
    made = make_cgroup(mount / "safekit" / node / module) if mount else None
    if mount and made:
        enable_controller(mount, made, "memory")
    return made


def enable_controller(mount: Path, cgroup: Path, controller: str) -> bool:
    """Have every group above this one hand the controller on to it. False where the kernel does not let us: it is not
    of version 2, or a group above has processes of its own."""
    above = [path for path in reversed(cgroup.parents) if path.is_relative_to(mount)]
    try:
        for control in (path / "cgroup.subtree_control" for path in above):
            if controller not in control.read_text(encoding="ascii").split():
                control.write_text(f"+{controller}", encoding="ascii")
    except OSError:
        return False
    return True


def remove_cgroup(path: Path) -> None:
    """Remove an empty cgroup and those below it; one with processes stays."""
    for child in path.glob("*/"):
        remove_cgroup(child)
    with contextlib.suppress(OSError):
        path.rmdir()


def _entries(cgroup: Path) -> list[int]:
    """The pids of a cgroup and those below it; 0 stands for a process of another pid namespace."""
    pids: list[int] = []
    for procs in (cgroup / "cgroup.procs", *cgroup.glob("*/**/cgroup.procs")):
        with contextlib.suppress(OSError):
            pids += map(int, procs.read_text(encoding="ascii").split())
    return pids


def cgroup_members(cgroup: Path | None) -> frozenset[int]:
    """The living processes of a cgroup and those below it that this pid namespace knows."""
    return frozenset(_entries(cgroup)) - {0} if cgroup else frozenset()


def kill_cgroup(cgroup: Path) -> None:
    """Kill all at once, faster than they can fork. Not where a process of another pid namespace is among them,
    or this one itself."""
    if not {0, os.getpid()} & set(_entries(cgroup)):
        with contextlib.suppress(OSError):
            (cgroup / "cgroup.kill").write_text("1", encoding="ascii")
