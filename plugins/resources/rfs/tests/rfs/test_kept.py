"""Versions that were kept aside are listed, restored whole, and removed when they are old or many."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs import kept
from safekit_resource_rfs.plan import OWN_FOLDER


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    for group, content in (("20260101T000000-aa", b"old"), ("20260102T000000-bb", b"newer")):
        place = tmp_path / OWN_FOLDER / "aside" / group / "dir"
        place.mkdir(parents=True)
        (place / "file").write_bytes(content)
        (place / "file").chmod(0o640)
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_versions_are_listed_the_latest_first(root: int) -> None:
    assert [(one.group[-2:], one.path, one.size_bytes) for one in kept.listed(root)] == [
        ("bb", "dir/file", 5),
        ("aa", "dir/file", 3),
    ]


def test_where_nothing_was_kept_nothing_is_listed(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert kept.listed(descriptor) == []
    finally:
        os.close(descriptor)


def test_a_version_is_restored_with_its_attributes(root: int, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("what took its place")
    kept.restore(root, "20260101T000000-aa", "dir/file", target)
    assert target.read_bytes() == b"old"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == [OWN_FOLDER, "file"]


@pytest.mark.parametrize(
    ("group", "path"),
    [("..", "owner"), ("20260101T000000-aa", "../../owner"), ("20260101T000000-aa", "/etc/passwd"), ("", "x")],
)
def test_nothing_outside_of_the_sets_is_reached(root: int, group: str, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        kept.find(root, group, path)


def test_a_symbolic_link_in_a_set_is_not_followed(root: int, tmp_path: Path) -> None:
    (tmp_path / OWN_FOLDER / "aside" / "20260101T000000-aa" / "link").symlink_to("/etc")
    with pytest.raises(FileNotFoundError):
        kept.find(root, "20260101T000000-aa", "link/passwd")


def test_the_oldest_go_when_it_is_too_much_and_all_when_they_are_old(root: int) -> None:
    assert kept.prune(root, 0.0, 1 << 20) == 0
    assert kept.prune(root, 0.0, 1) == 1
    assert [one.group[-2:] for one in kept.listed(root)] == ["bb"]
    assert kept.prune(root, time.time() + 60, 1 << 20) == 1
    assert kept.listed(root) == []
