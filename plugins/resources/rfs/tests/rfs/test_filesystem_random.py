"""Random operations give the same answers as on a plain directory, and the replica is the same afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .mounts import compare, describe, served
from .operations import Machine


def without_times(root: Path) -> dict[bytes, object]:
    return {path: (*about[:3], *about[4:]) for path, about in describe(root).items() if path}


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
        assert without_times(mount.directory) == without_times(plain)
        assert mount.differences() == []
        assert compare(mount.directory, mount.real) == []


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
        assert without_times(mount.directory) == without_times(plain)
        assert mount.differences() == []


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
        assert [line for line in mount.differences() if "'d'" not in line and "'d/e'" not in line] == []
