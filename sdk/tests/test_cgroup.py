"""Controllers of real cgroups: whichever the kernel has in version 2 here, and what is done where it has it not."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from safekit_sdk.cgroup import enable_controller, make_cgroup, module_cgroup, remove_cgroup, unified_mount

TRIED = ("memory", "hugetlb", "pids", "io", "cpu")


@pytest.fixture
def mount() -> Path:
    found = unified_mount()
    assert found, "cgroup v2 is not mounted"
    return found


@pytest.fixture
def module(mount: Path) -> Iterator[Path]:
    """A module's cgroup, two below one of the test's own."""
    top = mount / f"safekit-test-{uuid.uuid4().hex[:10]}"
    made = make_cgroup(top / "node" / "web")
    assert made
    yield made
    remove_cgroup(top)
    assert not top.exists()


def available(mount: Path) -> str:
    """One that the kernel has here and that nobody else is changed by."""
    names = (mount / "cgroup.controllers").read_text().split()
    return next(name for name in TRIED if name in names)


def test_each_group_above_hands_it_on_also_to_one_that_has_processes(mount: Path, module: Path) -> None:
    controller = available(mount)
    before = (mount / "cgroup.subtree_control").read_text().split()
    process = subprocess.Popen(["/bin/sleep", "600"])
    try:
        (module / "cgroup.procs").write_text(str(process.pid))
        assert enable_controller(mount, module, controller)
        assert enable_controller(mount, module, controller)
        assert controller in (module / "cgroup.controllers").read_text().split()
        assert list(module.glob(f"{controller}.*"))
        assert (module / "cgroup.subtree_control").read_text().split() == []
    finally:
        process.kill()
        process.wait(10)
        for path in (module.parent, module.parent.parent, *(() if controller in before else (mount,))):
            (path / "cgroup.subtree_control").write_text(f"-{controller}")


def test_one_that_the_kernel_has_not_is_no_error(mount: Path, module: Path) -> None:
    assert not enable_controller(mount, module, "no-such-controller")
    assert not enable_controller(mount, Path(mount, "not", "there"), "no-such-controller")


def test_the_memory_of_a_module_is_accounted_exactly_where_the_kernel_does_it(mount: Path) -> None:
    node = f"test-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    made = module_cgroup(node, "web")
    assert made
    try:
        there = "memory" in (mount / "cgroup.controllers").read_text().split()
        assert (made / "memory.events").exists() is there
    finally:
        remove_cgroup(made.parent)
