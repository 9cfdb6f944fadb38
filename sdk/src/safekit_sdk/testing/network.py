"""A network namespace of a test's own, for plugins that touch addresses, routes or packet filters. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Namespace:
    """A named network namespace whose loopback is up."""

    name: str

    @property
    def prefix(self) -> list[str]:
        """Put before an argument list, it runs that program inside: a suite's `runner_prefix`."""
        return ["ip", "netns", "exec", self.name]

    def command(self, *words: str) -> str:
        """Run a program inside and return its output; RuntimeError with what it said when it fails."""
        return _run(*self.prefix, *words)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and threads and processes that it starts meanwhile, are inside: a suite's `inside`."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(Path("/run/netns") / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)


@contextlib.contextmanager
def network_namespace() -> Iterator[Namespace]:
    """A new one with a random name, removed afterwards."""
    namespace = Namespace(f"sk-{uuid.uuid4().hex[:10]}")
    _run("ip", "netns", "add", namespace.name)
    try:
        _run("ip", "-n", namespace.name, "link", "set", "lo", "up")
        yield namespace
    finally:
        _run("ip", "netns", "delete", namespace.name)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
