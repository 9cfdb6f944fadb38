"""QEMU's processes on this machine, as the kernel knows them: what libvirt says is not proof that a guest is gone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk import ConfigError
from safekit_sdk.process import end_processes
from safekit_sdk.procfs import all_pids, arguments, describe, process_stat

Identity = tuple[int, int]
"""Device and inode of a file."""


def find(domain: str) -> frozenset[int]:
    """The living QEMUs that libvirt started for a domain of this name."""
    return frozenset(pid for pid in all_pids() if _is_of(pid, domain))


def _is_of(pid: int, domain: str) -> bool:
    words = arguments(pid)
    if not words or "qemu" not in Path(words[0]).name or "-name" not in words[:-1]:
        return False
    name = words[words.index("-name") + 1].split(",")[0]
    stat = process_stat(pid)
    return name in (f"guest={domain}", domain) and stat is not None and stat.alive


def writers(images: Iterable[Path]) -> frozenset[int]:
    """Every process of this machine that has one of these files open for writing."""
    wanted = identities(images)
    return frozenset(pid for pid in all_pids() if wanted & _written(pid)) if wanted else frozenset()


def identities(paths: Iterable[Path]) -> frozenset[Identity]:
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def writes(pid: int, images: Iterable[Path]) -> bool:
    """Whether it has the very files open that these paths lead to now, not those below a mount that came later."""
    return identities(images) <= _written(pid)


def _written(pid: int) -> frozenset[Identity]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError, ValueError):
                if _is_writable(pid, entry.name):
                    status = entry.stat()
                    found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _is_writable(pid: int, descriptor: str) -> bool:
    text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii")
    flags = next(line.split()[1] for line in text.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


@dataclass(frozen=True, slots=True)
class Machine:
    """The guest's processes and files on this node."""

    domain: str

    def pids(self) -> frozenset[int]:
        return find(self.domain)

    def pid(self) -> int | None:
        return min(self.pids(), default=None)

    async def end(self, grace_s: float) -> None:
        """ConfigError that names what not even SIGKILL ends."""
        if left := await end_processes(self.pids, grace_s):
            raise ConfigError(
                f"{self.domain} still runs: not even SIGKILL ends {describe(left)}",
                hint="a hung file system or device? see `dmesg`; the other node must not start it",
            )
