"""What few programs do, and what a file system through which it is done gets wrong easily: each as in a plain
directory."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .mounts import Served, served
from .users import NOBODY, as_nobody

MEGABYTE = 1 << 20


@pytest.fixture(scope="module", params=["through", "writeback"])
def mounted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("corners")
    with served(place, cache=request.param) as mount:
        (place / "plain").mkdir()
        for path in (place, place.parent, place.parent.parent, mount.directory):
            path.chmod(0o755)
        yield mount
        assert mount.differences() == []


@pytest.fixture
def roots(mounted: Served, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """An empty directory of the mount, and one of a plain directory."""
    both = mounted.directory / request.node.name, mounted.directory.parent / "plain" / request.node.name
    for root in both:
        root.mkdir()
    return both


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def alike(roots: tuple[Path, Path], look: Callable[[Path], object]) -> object:
    """What is seen in both."""
    seen, expected = map(look, roots)
    assert seen == expected
    return seen


@pytest.mark.parametrize("way", ["write", "map"])
def test_data_that_no_disk_has_yet_are_no_hole(roots: tuple[Path, Path], way: str) -> None:
    def look(root: Path) -> tuple[int, int]:
        with (root / "f").open("w+b", buffering=0) as file:
            file.truncate(8 * MEGABYTE)
            with mmap.mmap(file.fileno(), 0) as memory:
                if way == "map":
                    memory[MEGABYTE : MEGABYTE + 65536] = b"d" * 65536
                else:
                    os.pwrite(file.fileno(), b"d" * 65536, MEGABYTE)
                return os.lseek(file.fileno(), 0, os.SEEK_DATA), os.lseek(file.fileno(), MEGABYTE, os.SEEK_HOLE)

    assert alike(roots, look) == (MEGABYTE, MEGABYTE + 65536)


@pytest.mark.parametrize("command", [("cp", "f", "copy"), ("tar", "-cSf", "copy", "f")], ids=["cp", "tar"])
def test_a_sparse_copy_of_what_was_just_written_has_it(roots: tuple[Path, Path], command: tuple[str, ...]) -> None:
    data = os.urandom(65536)
    waiting = ("sh", "-c", "read line; exec " + " ".join(command))  # a later fork would close the file, which writes it
    copier = subprocess.Popen(waiting, cwd=roots[0], stdin=subprocess.PIPE)
    assert copier.stdin
    with (roots[0] / "f").open("w+b", buffering=0) as file:
        file.truncate(8 * MEGABYTE)
        os.pwrite(file.fileno(), data, MEGABYTE)
        copier.stdin.close()
        assert copier.wait() == 0
    assert data in (roots[0] / "copy").read_bytes()


def test_blocks_are_counted_soon_after_a_write(roots: tuple[Path, Path]) -> None:
    path = roots[0] / "f"
    with path.open("wb", buffering=0) as file:
        assert os.fstat(file.fileno()).st_size == 0
        file.write(bytes(MEGABYTE))
        os.fsync(file.fileno())
        wait_for(lambda: os.fstat(file.fileno()).st_blocks >= MEGABYTE // 512)


def test_trusted_attributes_are_not_shown_to_users(roots: tuple[Path, Path]) -> None:
    def look(root: Path) -> str:
        (root / "f").touch()
        for key in ("trusted.a", "user.b"):
            os.setxattr(root / "f", key, b"1")
        assert os.listxattr(root / "f") == ["trusted.a", "user.b"]
        return as_nobody(root, "import os; print(os.listxattr('f'))")

    assert alike(roots, look) == "['user.b']"


@pytest.mark.parametrize("mode", [0o6755, 0o6745, 0o6644, 0o2711])
def test_a_change_of_owner_that_changes_none_clears_set_user_id(roots: tuple[Path, Path], mode: int) -> None:
    def look(root: Path) -> tuple[str, str]:
        modes = []
        (root / "f").touch()
        for change in (
            lambda: os.chown(root / "f", -1, -1),
            lambda: as_nobody(root, "import os; os.chown('f', -1, -1)"),
        ):
            os.chown(root / "f", NOBODY, NOBODY)
            (root / "f").chmod(mode)
            change()
            modes.append(oct((root / "f").stat().st_mode))
        return modes[0], modes[1]

    alike(roots, look)


CAPABILITY = bytes.fromhex("0100000202000000000000000000000000000000")


def test_a_change_of_owner_that_changes_none_takes_a_capability_away(roots: tuple[Path, Path]) -> None:
    """On both nodes: `mounted` compares them in the end."""

    def look(root: Path) -> list[str]:
        (root / "f").touch()
        os.setxattr(root / "f", "security.capability", CAPABILITY)
        os.chown(root / "f", -1, -1)
        return os.listxattr(root / "f")

    assert alike(roots, look) == []
