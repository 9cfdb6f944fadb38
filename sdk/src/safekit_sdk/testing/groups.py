"""A control group of a test's own: what a plugin starts is in it, and is gone with it."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from safekit_sdk.cgroup import cgroup_members, kill_cgroup, make_cgroup, remove_cgroup, unified_mount
from safekit_sdk.procfs import describe

_EMPTY_BOUND_S = 5.0


@contextlib.contextmanager
def a_cgroup() -> Iterator[Path | None]:
    """A new one; None where this process may not make one. Whatever is left in it afterwards is killed."""
    mount = unified_mount()
    path = make_cgroup(mount / f"safekit-test-{uuid.uuid4().hex[:10]}") if mount else None
    try:
        yield path
    finally:
        if path:
            _remove(path)


def _remove(path: Path) -> None:
    deadline_s = time.monotonic() + _EMPTY_BOUND_S
    while path.exists():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{path} cannot be removed; in it are {describe(cgroup_members(path)) or 'none'}")
        kill_cgroup(path)
        remove_cgroup(path)
        time.sleep(0.002)
