"""What a drill does to this node, and how it is undone. Undoing is safe to do twice, and where nothing was done."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress

from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.process import open_pidfd
from safekit_sdk.procfs import all_pids, process_stat

LONGEST_S: Final = 120.0
COMMAND_S: Final = 30.0
START: Final = (str(Path(sys.executable).parent / "safekit"), "daemon", "start")
_UNIT: Final = re.compile(r"(?:^|/)(safekitd?[^/]*\.service)(?:/|$)", re.MULTILINE)
Kind = Literal["none", "kill-app", "kill-daemon", "freeze", "partition", "isolate", "disk-full", "slow-disk"]


class Order(BaseModel):
    """What the guard of a drill is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    seconds: Annotated[float, Field(gt=0, le=LONGEST_S)]
    """Then it is undone, if nobody said so before."""
    run: Annotated[str, Field(max_length=100)] = "/run/safekit"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Of kill-app: who listens there. Of partition: what stays open, so that the drill is seen by a client."""
    addresses: Annotated[tuple[IPvAnyAddress, ...], Field(max_length=200)] = ()
    """Of partition: those of the other nodes."""
    path: Annotated[str, Field(max_length=4096)] = ""
    """Of disk-full and slow-disk: a directory on the file system."""
    fill_bytes: Annotated[int, Field(ge=0, le=1 << 44)] = 0
    """Of disk-full: no more than this."""


class Harm:
    """None, as it stands here: what asks the cluster for something does no harm to a node."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def check(self) -> None:
        """ConfigError or RefusedError when it could not be done here, or not undone."""

    def do(self) -> str:
        """Return what was done, in a sentence."""
        return "nothing was harmed"

    def undo(self) -> None:
        """Also by the second guard, of what the first one did."""


class KillApp(Harm):
    """The application is what listens at the port that the client asks. Nothing has to be undone: that is the drill."""

    def check(self) -> None:
        if not listeners(self.order.port):
            raise ConfigError(
                f"no process of this node listens on port {self.order.port}",
                hint="name the application's own port in --probe; what is behind a proxy cannot be told by it",
            )

    def do(self) -> str:
        pids = listeners(self.order.port)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"SIGKILL to {len(pids)} processes that listen on port {self.order.port}"


class OfDaemon(Harm):
    """On safekitd, known by its lock."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._pid = daemon_pid(order.run)
        self._unit = unit_of(self._pid)
        self._handle = open_pidfd(self._pid) if self._pid else None

    def check(self) -> None:
        if self._handle is None:
            raise ConfigError(
                "safekitd does not run on this node", where=self.order.run, hint="`safekit daemon start` starts it"
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


class KillDaemon(OfDaemon):
    def do(self) -> str:
        self._signal(signal.SIGKILL)
        back = (
            f"systemd may start {self._unit} again at once" if self._unit else "it is started at the end of the drill"
        )
        return f"SIGKILL to safekitd (process {self._pid}); {back}"

    def undo(self) -> None:
        """By what had started it."""
        if not daemon_pid(self.order.run):
            subprocess.run(
                ("systemctl", "start", self._unit) if self._unit else START,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_S,
                check=False,
            )


class Freeze(OfDaemon):
    def do(self) -> str:
        self._signal(signal.SIGSTOP)
        return f"SIGSTOP to safekitd (process {self._pid}): it neither speaks nor hears"

    def undo(self) -> None:
        self._signal(signal.SIGCONT)


class DiskFull(Harm):
    """A file without a name takes the room: the kernel gives it back with the last process that has it open."""

    def check(self) -> None:
        place = directory(self.order)
        free_bytes = _free_bytes(place)
        if free_bytes > self.order.fill_bytes:
            raise RefusedError(
                f"{free_bytes >> 20} MiB are free there; the drill may take {self.order.fill_bytes >> 20} MiB",
                hint="--fill-mib allows more, if the disk may be filled so far",
            )

    def do(self) -> str:
        self._file = tempfile.TemporaryFile(dir=self.order.path, buffering=0)  # noqa: SIM115 - held until it is undone
        size_bytes, step_bytes = 0, 1 << 30
        while step_bytes >= 4096 and size_bytes < self.order.fill_bytes:
            step_bytes = min(step_bytes, self.order.fill_bytes - size_bytes)
            try:
                os.posix_fallocate(self._file.fileno(), size_bytes, step_bytes)
                size_bytes += step_bytes
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                step_bytes //= 2
        return f"{size_bytes >> 20} MiB taken: the file system of {self.order.path} is full"

    def undo(self) -> None:
        if (file := getattr(self, "_file", None)) is not None:
            file.close()


def directory(order: Order) -> Path:
    """ConfigError when there is no such directory."""
    place = Path(order.path)
    if not place.is_absolute() or not place.is_dir():
        raise ConfigError(f"{order.path!r} is no directory of this node", hint="--path /a/directory")
    return place


def daemon_pid(run: str) -> int:
    """The process that holds the lock of safekitd; 0 where none does. A frozen one holds it."""
    try:
        pid = int((Path(run) / "safekitd.lock").read_text(encoding="ascii") or "0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    stat = process_stat(pid)
    return pid if b"safekit" in command and stat is not None and stat.state not in "ZX" else 0


def unit_of(pid: int) -> str:
    """The unit of systemd that it belongs to, or nothing."""
    with contextlib.suppress(OSError):
        found = _UNIT.search(Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii"))
        return found[1] if found and Path("/run/systemd/system").is_dir() else ""
    return ""


def listeners(port: int) -> list[int]:
    """The processes that have a socket open that listens on this TCP port."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    return [pid for pid in all_pids() if sockets & set(_open(pid))] if sockets else []


def _listening(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    yield rest[5]


def _open(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield str(Path(entry.path).readlink())


def _free_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bfree * found.f_frsize
