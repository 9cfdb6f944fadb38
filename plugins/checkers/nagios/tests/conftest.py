"""Plugins that a test writes, beside the real ones; a cgroup of its own, and what is left on the machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safekit_sdk.procfs import all_pids, arguments
from safekit_sdk.testing.groups import a_cgroup

Write = Callable[[str], Path]


@pytest.fixture
def plugin(tmp_path: Path) -> Write:
    """Write a plugin: a shell's, or Python's when it begins with `import`."""

    def write(text: str) -> Path:
        path = tmp_path / f"check-{secrets.token_hex(4)}"
        first = f"#!{sys.executable} -I" if text.startswith("import") else "#!/bin/sh"
        path.write_text(f"{first}\n{text}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with a_cgroup() as path:
        assert path is not None, "cgroup v2 is not mounted, or not writable"
        yield path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=10)


@pytest.fixture
def sign() -> Iterator[str]:
    """An argument by which a test finds its processes again; whatever is left of them is killed."""
    sign = f"sk-sign-{secrets.token_hex(8)}"
    yield sign
    for pid in with_argument(sign):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def with_argument(sign: str) -> list[int]:
    return [pid for pid in all_pids() if any(sign in argument for argument in arguments(pid))]


@pytest.fixture
def found() -> Callable[[str], list[int]]:
    return with_argument
