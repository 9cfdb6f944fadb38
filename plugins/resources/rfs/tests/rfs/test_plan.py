"""Every mistake that can be seen on the machine is found before anything changes, and said with what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs import plan

from safekit_sdk import ConfigError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def proc_below(directory: Path) -> Iterator[Path]:
    """A file system without file handles, mounted in the directory."""
    inner = directory / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", str(inner)], check=True)
    try:
        yield inner
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def the_finding(directory: Path) -> str:
    (found,) = plan.findings(directory)
    return found


def test_a_good_directory_has_nothing_against_it(directory: Path) -> None:
    assert plan.findings(directory) == []


def test_a_directory_that_is_not_there_is_to_be_created(directory: Path) -> None:
    assert "create it" in the_finding(directory / "missing")


def test_a_symbolic_link_is_told_with_the_real_path(directory: Path) -> None:
    link = directory.with_name("link")
    link.symlink_to(directory)
    assert str(directory) in the_finding(link)


def test_a_file_is_no_directory(directory: Path) -> None:
    (directory / "file").touch()
    assert "not a directory" in the_finding(directory / "file")


def test_a_directory_in_a_replicated_one_is_refused(directory: Path) -> None:
    (directory / plan.OWN_FOLDER).mkdir()
    (directory / "inner").mkdir()
    assert "replicated already" in the_finding(directory / "inner")


def test_what_is_mounted_below_would_be_hidden(directory: Path, proc_below: Path) -> None:
    assert str(proc_below) in the_finding(directory)


def test_a_file_system_without_handles_is_refused(proc_below: Path) -> None:
    assert any("file handles" in found for found in plan.findings(proc_below / "sys"))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(directory: Path, kind: str) -> None:
    (found,) = plan.of_file_system(directory, plan.Mount(directory, kind))
    assert f"of type {kind}; rfs needs a local file system" in found


def test_a_machine_without_the_device_is_told_what_to_load(directory: Path) -> None:
    look = (
        "import pathlib, sys; from safekit_resource_rfs import plan; print(*plan.findings(pathlib.Path(sys.argv[1])))"
    )
    hidden = f"mount -t tmpfs tmpfs /dev && exec {sys.executable} -c '{look}' {directory}"
    told = subprocess.run(["unshare", "--mount", "sh", "-c", hidden], check=True, capture_output=True, text=True)
    assert "modprobe fuse" in told.stdout


def test_a_path_with_any_bytes_is_read_from_the_table_of_mounts(directory: Path) -> None:
    place = directory / os.fsdecode(b"a b\xff\n\\")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", bytes(place)], check=True)
    try:
        assert plan.mount_of(place, plan.mounts()) == plan.Mount(place, "tmpfs")
    finally:
        subprocess.run(["umount", bytes(place)], check=True)


def test_a_directory_belongs_to_the_resource_that_took_it(directory: Path) -> None:
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        plan.claim(root, directory, "web", "data")
        plan.claim(root, directory, "web", "data")
        with pytest.raises(ConfigError, match="module 'web'"):
            plan.claim(root, directory, "other", "data")
        (directory / plan.OWN_FOLDER / plan.OWNER).write_text("{torn")
        plan.claim(root, directory, "other", "data")
    finally:
        os.close(root)
