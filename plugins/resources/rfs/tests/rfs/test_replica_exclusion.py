"""What only the secondary has, as it is excluded, goes with its directory, and with nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs import changes
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.replica import Replica


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def excluding(root: Path) -> Iterator[Replica]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    replica = Replica(fd, exclusion=Exclusion(("cache",)))
    yield replica
    replica.close()
    os.close(fd)


def test_what_is_excluded_does_not_keep_a_directory(excluding: Replica, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").touch()
    for name in ("removed", "replaced"):
        (root / name / "cache" / "deep").mkdir(parents=True)
        (root / name / "cache" / "deep" / "f").touch()
        (root / name / "cache" / "out").symlink_to(tmp_path / "outside")
    (root / "moved").mkdir()
    excluding.apply(changes.Remove(b"removed", is_directory=True))
    excluding.apply(changes.Rename(b"moved", b"replaced", 0))
    assert [path.name for path in root.rglob("*")] == ["replaced"]
    assert (tmp_path / "outside" / "f").exists()


def test_what_is_excluded_stays_where_the_directory_stays(excluding: Replica, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "cache").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "file").touch()
    (root / "moved").mkdir()
    for name in ("only", "both"):
        (root / name / "cache").mkdir(parents=True)
        (root / name / "cache" / "f").touch()
    (root / "both" / "f").touch()
    for change in (
        changes.Rename(b"file", b"link", 1),
        changes.Rename(b"moved", b"only", 1),
        changes.Rename(b"moved", b"both", 0),
        changes.Remove(b"both", is_directory=True),
        changes.Remove(b"link", is_directory=True),
    ):
        with pytest.raises(OSError):
            excluding.apply(change)
    assert (tmp_path / "outside" / "cache").is_dir()
    assert (root / "only" / "cache" / "f").exists()
    assert (root / "both" / "cache" / "f").exists()
