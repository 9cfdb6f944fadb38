"""Random operations give the same answers as on a plain directory, and the replica is the same afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .mounts import Served, compare, describe, served
from .operations import Machine


def has_prune() -> bool:
    """Linux 6.18 and later forget what they are asked to."""
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 18)


def comparable(root: Path) -> dict[bytes, object]:
    """Without times."""
    found: dict[bytes, object] = {}
    for path, (mode, uid, gid, _, *more) in describe(root, holes=False).items():
        if path:
            found[path] = (mode, uid, gid, *more)
    return found


def differences(mount: Served) -> list[str]:
    """Without where holes are: how much of what was allocated ahead becomes data, zeros among it, depends on when each
    disk gets it. `test_holes.py` looks at them."""
    return mount.differences(holes=False)


@pytest.mark.parametrize("kind", ["mirror", "slow"])
@pytest.mark.parametrize("seed", range(4))
def test_random_operations_answer_as_a_plain_directory_and_reach_the_replica(
    tmp_path: Path, seed: int, kind: str
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    with served(tmp_path, kind=kind) as mount:
        machine = Machine(seed, plain, mount.directory)
        try:
            for number in range(1500 if kind == "mirror" else 500):
                machine.step()
                if number % 100 == 50 and kind == "slow":
                    mount.tell("forget_slots")
        finally:
            machine.close()
        assert comparable(mount.directory) == comparable(plain)
        assert differences(mount) == []
        assert compare(mount.directory, mount.real, holes=False) == []


@pytest.mark.parametrize(("kind", "cache"), [("mirror", "through"), ("slow", "through"), ("slow", "writeback")])
def test_processes_that_work_in_the_same_directories_leave_an_equal_replica(
    tmp_path: Path, kind: str, cache: str
) -> None:
    with served(tmp_path, kind=kind, cache=cache) as mount:
        worker = str(Path(__file__).with_name("worker.py"))
        command = (sys.executable, worker, "names", str(mount.directory))
        commands = [[*command, str(seed), "1000", "60"] for seed in range(5)]
        processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        assert differences(mount) == []
        mount.tell("cover")
        mount.tell("serve")
        assert compare(mount.directory, mount.real, holes=False) == []


def test_caches_that_are_dropped_meanwhile_change_nothing(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    with served(tmp_path) as mount:
        machine = Machine(99, plain, mount.directory)
        try:
            for number in range(800):
                machine.step()
                if number % 50 == 0:
                    Path("/proc/sys/vm/drop_caches").write_text("2")
        finally:
            machine.close()
        assert comparable(mount.directory) == comparable(plain)
        assert differences(mount) == []


def test_what_the_kernel_knows_and_nobody_uses_is_forgotten(tmp_path: Path) -> None:
    if not has_prune():
        return
    (tmp_path / "mounted").mkdir()
    for number in range(4000):
        (tmp_path / "mounted" / str(number)).touch()
    with served(tmp_path, kind="local", cache="small") as mount:
        with (mount.directory / "7").open("w") as file:
            for number in range(4000):
                (mount.directory / str(number)).stat()
            assert mount.tell("count_nodes") < 2000
            file.write("still the same file")
        assert (mount.real / "7").read_text() == "still the same file"


def test_a_file_whose_known_names_are_removed_is_found_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "mounted" / "d" / "e").mkdir(parents=True)
    (tmp_path / "mounted" / "f").write_text("first")
    os.link(tmp_path / "mounted" / "f", tmp_path / "mounted" / "d" / "e" / "g")
    (tmp_path / "second" / "d" / "e").mkdir(parents=True)
    (tmp_path / "second" / "f").write_text("first")
    os.link(tmp_path / "second" / "f", tmp_path / "second" / "d" / "e" / "g")
    with served(tmp_path) as mount:
        fd = os.open(mount.directory / "f", os.O_RDWR)
        (mount.directory / "f").unlink()
        os.pwrite(fd, b"later", 0)
        os.fchmod(fd, 0o600)
        os.close(fd)
        assert (mount.directory / "d" / "e" / "g").read_text() == "later"
        assert [line for line in differences(mount) if "'d'" not in line and "'d/e'" not in line] == []
