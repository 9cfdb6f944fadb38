"""What the machine says of itself: a fixed list of commands and files, each bounded in time and size."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from safekit.snapshot.layout import COMMAND_BYTES, COMMAND_S

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "ip-address.json": ("ip", "-j", "-s", "address"),
    "ip-route.json": ("ip", "-j", "route", "show", "table", "all"),
    "ip-rule.json": ("ip", "-j", "rule"),
    "ip-neighbour.json": ("ip", "-j", "neighbour"),
    "nft.txt": ("nft", "list", "ruleset"),
    "listening.txt": ("ss", "-Htanl"),
    "processes.txt": ("ps", "-eo", "pid,ppid,stat,psr,cls,rtprio,etimes,rss,comm"),
    "kernel-log.txt": ("dmesg", "--level=emerg,alert,crit,err,warn", "--time-format=iso"),
    "journal-of-safekitd.txt": ("journalctl", "--no-pager", "-q", "-u", "safekitd", "-n", "2000", "-o", "short-iso"),
    "clock.txt": ("timedatectl", "show"),
    "clock-chrony.txt": ("chronyc", "-n", "tracking"),
    "packages-debian.txt": ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n"),
    "packages-rpm.txt": ("rpm", "-qa"),
}
"""No command line of another process is among them: there may be a secret on it."""
FILES: Final[dict[str, str]] = {
    "mounts.txt": "/proc/self/mountinfo",
    "memory.txt": "/proc/meminfo",
    "load.txt": "/proc/loadavg",
    "pressure-cpu.txt": "/proc/pressure/cpu",
    "pressure-io.txt": "/proc/pressure/io",
    "pressure-memory.txt": "/proc/pressure/memory",
    "os-release.txt": "/etc/os-release",
    "disks.txt": "/proc/diskstats",
    "limits.txt": "/proc/self/limits",
    "cgroup.txt": "/proc/self/cgroup",
}
MOUNTS: Final = 500
REMOTE: Final = ("nfs", "cifs", "smb", "fuse", "ceph", "9p")
NAP_S: Final = 0.01
NAPS: Final = 50


def outputs() -> Iterator[tuple[str, str]]:
    """By name what each gave; what this machine does not have is not there."""
    for name, argv in COMMANDS.items():
        with contextlib.suppress(FileNotFoundError):
            yield name, _output(argv)
    for name, place in FILES.items():
        with contextlib.suppress(OSError), Path(place).open("rb") as file:
            yield name, file.read(COMMAND_BYTES).decode(errors="replace")


def facts() -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        "wall": time.time(),
        "python_packages": {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name)},
        "disks": dict(_disks()),
        "late": _late(),
    }


def _late() -> dict[str, Any]:
    """How late an ordinary process comes back from a short sleep: more than safekitd, which has real-time priority."""
    late_ms = []
    for _ in range(NAPS):
        due_s = time.monotonic() + NAP_S
        time.sleep(NAP_S)
        late_ms.append(round((time.monotonic() - due_s) * 1000, 3))
    late_ms.sort()
    return {"sleeps": NAPS, "sleep_ms": NAP_S * 1000, "median_ms": late_ms[NAPS // 2], "longest_ms": late_ms[-1]}


def _disks() -> Iterator[tuple[str, dict[str, int]]]:
    """By path the room on each mount; not of those whose server may be away, which would hold it up."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()[:MOUNTS]:
            place, (kind, *_) = line.split()[4], line.partition(" - ")[2].split()
            if kind.startswith(REMOTE):
                continue
            with contextlib.suppress(OSError):
                found = os.statvfs(place)
                size_bytes, free_bytes = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
                yield place, {"size_bytes": size_bytes, "free_bytes": free_bytes}


def _output(argv: tuple[str, ...]) -> str:
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            code: int | str = process.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = f"not ended within {COMMAND_S:g} s"
        out.seek(0)
        text = out.read(COMMAND_BYTES).decode(errors="replace")
    return text if code == 0 else f"{text}(exit: {code})\n"
