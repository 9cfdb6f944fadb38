"""A modification that was executed and is not recorded ends the process: what is marked is compared afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safekit_resource_rfs.defects import EXIT_STATUS

from .mounts import served

ACTIONS: dict[str, Callable[[Path], object]] = {
    "MakeFile": lambda root: (root / "new").touch(),
    "MakeDirectory": lambda root: (root / "new").mkdir(),
    "MakeSymlink": lambda root: (root / "new").symlink_to("x"),
    "MakeNode": lambda root: os.mkfifo(root / "new"),
    "MakeLink": lambda root: (root / "new").hardlink_to(root / "file"),
    "Remove": lambda root: (root / "file").unlink(),
    "Rename": lambda root: (root / "file").rename(root / "new"),
    "Write": lambda root: (root / "file").write_bytes(b"x"),
    "Bind": lambda root: (root / "file").write_bytes(b"x"),
    "Resize": lambda root: os.truncate(root / "file", 1),
    "Allocate": lambda root: allocate(root / "file"),
    "SetAttributes": lambda root: (root / "file").chmod(0o600),
    "SetXattr": lambda root: os.setxattr(root / "file", "user.new", b"x"),
    "RemoveXattr": lambda root: os.removexattr(root / "file", "user.x"),
}


def allocate(path: Path) -> None:
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 10_000)


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_defect_after_an_execution_ends_the_process(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "file").write_text("text")
    os.setxattr(tmp_path / "mounted" / "file", "user.x", b"")
    with served(tmp_path, kind="breaking") as mount:
        mount.tell("break_at", kind + "(")
        with pytest.raises(OSError):
            ACTIONS[kind](mount.directory)
        assert mount.process.wait(10) == EXIT_STATUS


def test_a_defect_at_times_that_are_recorded_later_ends_the_process(tmp_path: Path) -> None:
    with served(tmp_path, kind="breaking") as mount:
        mount.tell("break_at", "mtime_ns=1")
        (mount.directory / "file").touch()
        assert mount.process.wait(10) == EXIT_STATUS


@pytest.mark.parametrize("word", ["touch", "synced"])
def test_a_defect_before_an_execution_ends_the_process_too(tmp_path: Path, word: str) -> None:
    """The state machine was amidst a step: what it is from then on, nobody knows."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "file").write_text("text")
    with served(tmp_path, kind="breaking") as mount:
        fd = os.open(mount.directory / "file", os.O_RDWR)
        mount.tell("break_at", word)
        with pytest.raises(OSError, match=r"abort|not connected"):
            os.write(fd, b"x") if word == "touch" else os.fsync(fd)
        assert mount.process.wait(10) == EXIT_STATUS
        with contextlib.suppress(OSError):
            os.close(fd)


def test_a_resize_that_fails_when_it_is_done_reaches_the_replica(tmp_path: Path) -> None:
    """As ext4 does it, where the end of a file cannot be read to make it zeros."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "second").mkdir()
    for place in (tmp_path / "mounted", tmp_path / "second"):
        (place / "file").write_bytes(b"x" * 10_000)
    with served(tmp_path) as mount:
        mount.tell("fail_resize")
        with pytest.raises(OSError, match="Input/output"):
            os.truncate(mount.directory / "file", 100)
        mount.tell("cover")
        assert (mount.real / "file").stat().st_size == 100
        assert (mount.second / "file").stat().st_size == 100
