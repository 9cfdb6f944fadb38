"""Real processes that the kernel kills because memory is short: in a small cgroup of their own, of version 2 where
it has the memory controller, else of version 1."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit_sdk.cgroup import unified_mount

LIMIT_BYTES = 16 << 20
_VERSION_1 = Path("/sys/fs/cgroup/memory")
_EATING = "import sys\nopen(sys.argv[1], 'w').write('0')\nkept = []\nwhile True: kept.append(bytearray(1 << 20))"
_PAUSE_S = 0.1


class Victims:
    """Memory eaters of the cgroup; each is killed by the kernel."""

    def __init__(self, cgroup: Path) -> None:
        self._cgroup = cgroup
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def one(self) -> int:
        """Return the exit status of one: -9, it was killed."""
        words = ["/usr/bin/python3", "-I", "-S", "-c", _EATING, str(self._cgroup / "cgroup.procs")]
        return subprocess.run(words, timeout=20, check=False).returncode

    def begin(self) -> None:
        """One after the other, from now on."""
        self.end()
        self._stop.clear()
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.one()
            self._stop.wait(_PAUSE_S)

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)


def _memory_cgroup() -> tuple[Path, tuple[str, ...]]:
    """A new one, and its files for a limit."""
    name = f"sk-test-{uuid.uuid4().hex[:10]}"
    mount = unified_mount()
    if mount is not None and "memory" in (mount / "cgroup.subtree_control").read_text().split():
        return mount / name, ("memory.max",)
    return _VERSION_1 / name, ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")


@pytest.fixture
def victims() -> Iterator[Victims]:
    cgroup, limits = _memory_cgroup()
    cgroup.mkdir()
    try:
        for limit in limits:
            (cgroup / limit).write_text(str(LIMIT_BYTES))
        made = Victims(cgroup)
        yield made
        made.end()
    finally:
        cgroup.rmdir()
