"""What the loser of a split had is on the disk before it is replaced, whatever takes its place; no more is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs import changes, descent
from safekit_resource_rfs.aside import Aside
from safekit_resource_rfs.changes import Change
from safekit_resource_rfs.kept import listed, prune
from safekit_resource_rfs.replica import Replica

from .power import Disk, a_disk

SET = ".safekit-rfs/aside/20260101T000000-abc"


class Loser:
    """A directory that loses, and the kept versions of what it had."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.replica = Replica(self.fd, Aside(self.fd, "20260101T000000-abc"))

    def apply(self, *some: Change) -> None:
        for change in some:
            self.replica.apply(change, keep_aside=True)

    def close(self) -> None:
        self.replica.close()
        os.close(self.fd)


def kept(root: Path) -> dict[str, str]:
    """The content of each kept file."""
    group = root / SET
    return {str(path.relative_to(group)): path.read_text() for path in group.rglob("*") if path.is_file()}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with a_disk(tmp_path) as disk:
        yield disk


@pytest.fixture
def loser(tmp_path: Path) -> Iterator[Loser]:
    root = tmp_path / "root"
    root.mkdir()
    loser = Loser(root)
    yield loser
    for path in root.iterdir():  # pytest cannot, when it is deep
        descent.remove(loser.fd, os.fsencode(path.name))
    loser.close()


def test_a_power_cut_after_what_is_new_is_on_the_disk_leaves_what_was_kept(disk: Disk) -> None:
    loser = Loser(disk.path)
    try:
        (disk.path / "d" / "e").mkdir(parents=True)
        for name in ("written", "gone", "replaced", "d/e/deep", "moved"):
            (disk.path / name).write_text(f"old {name}")
        loser.apply(changes.Bind(1, b"written"), changes.Write(1, 0, b"new"))
        fd = loser.replica.to_sync(changes.Sync(1, data_only=False))
        os.fsync(fd)
        os.close(fd)
        assert kept(disk.cut()) == {"written": "old written"}
        loser.apply(changes.Remove(b"gone", is_directory=False))
        loser.apply(changes.Rename(b"moved", b"replaced", 0), changes.Remove(b"d", is_directory=True))
        names = ["written", "gone", "replaced", "d/e/deep", "moved"]
        assert kept(disk.cut()) == {name: f"old {name}" for name in names}
    finally:
        loser.close()


def test_what_changes_only_where_its_holes_are_is_not_kept_and_its_data_still_are(loser: Loser) -> None:
    page = 4096
    (loser.root / "file").write_bytes(b"x" * page + bytes(2 * page) + b"y" * page)
    os.utime(loser.root / "file", (1e9, 1e9))
    loser.apply(
        changes.Bind(1, b"file"),
        changes.Allocate(1, 3, page, page),
        changes.Allocate(1, 1, page, page),
        changes.Write(1, page, bytes(page)),
        changes.Write(1, 0, b"x" * page),
    )
    assert not (loser.root / SET).exists()
    loser.apply(changes.Allocate(1, 3, 2 * page, 2 * page))
    assert kept(loser.root) == {"file": "x" * page + "\0" * 2 * page + "y" * page}
    assert (loser.root / SET / "file").stat().st_mtime == 1e9


def test_a_capability_is_kept_with_what_it_is_of(loser: Loser) -> None:
    (loser.root / "file").write_bytes(bytes(4096))
    os.setxattr(loser.root / "file", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    loser.apply(changes.Bind(1, b"file"), changes.Allocate(1, 3, 0, 4096))
    assert "security.capability" in os.listxattr(loser.root / SET / "file")


def test_a_directory_is_kept_however_deep_it_is(loser: Loser) -> None:
    depth = 1200

    def make(name: str, text: str) -> None:
        folder = loser.root / name
        for _ in range(depth):
            folder.mkdir()
            folder /= "d"
        folder.write_text(text)

    make("a", "old")
    loser.apply(changes.Rename(b"a", b"b", 0), changes.Remove(b"b", is_directory=True))
    make("b", "newer")
    loser.apply(changes.Remove(b"b", is_directory=True))
    assert not (loser.root / "b").exists()
    for name in ("a", "b"):
        assert Path(loser.root, SET, name, *["d"] * depth).read_text() == "old"
    assert [each.size_bytes for each in listed(loser.fd)] == [3, 3]
    assert prune(loser.fd, 1e12, 0) == 1
    assert list(loser.root.rglob("*")) == [loser.root / ".safekit-rfs", *(loser.root / ".safekit-rfs").iterdir()]


def test_what_is_equal_is_neither_copied_nor_moved(loser: Loser) -> None:
    (loser.root / "same").write_text("same")
    loser.apply(
        changes.Bind(1024, b"same"),
        changes.Resize(1024, 4),
        changes.SetAttributes(b"same", mtime_ns=5),
        changes.Unbind(1024),
    )
    assert not (loser.root / ".safekit-rfs").exists()


@pytest.mark.parametrize(
    "change",
    [
        changes.Write(1, 0, b"new"),
        changes.Resize(1, 0),
        changes.Allocate(1, 3, 0, 100),
        changes.SetXattr(b"file", b"user.x", b"new"),
        changes.RemoveXattr(b"file", b"user.x"),
    ],
    ids=lambda change: type(change).__name__,
)
def test_the_first_change_of_a_file_keeps_it(loser: Loser, change: Change) -> None:
    (loser.root / "file").write_text("old")
    os.setxattr(loser.root / "file", "user.x", b"old")
    loser.apply(changes.Bind(1, b"file"), change, changes.Write(1, 0, b"newer"))
    assert kept(loser.root) == {"file": "old"}
    assert os.getxattr(loser.root / SET / "file", "user.x") == b"old"
    assert (loser.root / "file").read_text() == "newer"
    assert not list((loser.root / ".safekit-rfs").glob("part/*"))


def test_what_is_written_through_a_slot_does_not_reach_what_was_moved_aside(loser: Loser) -> None:
    (loser.root / "file").write_text("old file")
    (loser.root / "d").mkdir()
    (loser.root / "d" / "deep").write_text("old deep")
    loser.apply(changes.Bind(1, b"file"), changes.Bind(2, b"d/deep"))
    loser.apply(changes.Remove(b"file", is_directory=False), changes.Remove(b"d", is_directory=True))
    for slot in (1, 2):
        with pytest.raises(OSError, match=f"slot {slot} means no file"):
            loser.apply(changes.Write(slot, 0, b"new"))
    assert kept(loser.root) == {"file": "old file", "d/deep": "old deep"}


def test_where_a_file_was_kept_what_came_later_beneath_its_name_goes(loser: Loser) -> None:
    """The file became a directory on the winner: what is made and removed in there was never the loser's."""
    (loser.root / "x").write_text("a file")
    loser.apply(
        changes.Remove(b"x", is_directory=False),
        changes.MakeDirectory(b"x", 0o755, 0, 0),
        changes.MakeFile(b"x/f", 1, 0o644, 0, 0),
        changes.Bind(1, b"x/f"),
        changes.Write(1, 0, b"new"),
        changes.Rename(b"x/f", b"x/g", 0),
        changes.Remove(b"x/g", is_directory=False),
        changes.MakeDirectory(b"x/d", 0o755, 0, 0),
        changes.MakeFile(b"x/d/f", 1, 0o644, 0, 0),
        changes.Remove(b"x/d", is_directory=True),
    )
    assert kept(loser.root) == {"x": "a file"}
    assert list((loser.root / "x").iterdir()) == []


@pytest.mark.parametrize("is_directory", [False, True])
def test_whatever_is_there_is_moved_aside_whatever_was_removed_here(loser: Loser, is_directory: bool) -> None:
    (loser.root / "file").write_text("a file")
    (loser.root / "d").mkdir()
    (loser.root / "d" / "f").write_text("deep")
    (loser.root / "link").symlink_to("d")
    for name in (b"file", b"d", b"link"):
        loser.apply(changes.Remove(name, is_directory=is_directory))
    assert kept(loser.root) == {"file": "a file", "d/f": "deep"}
    assert (loser.root / SET / "link").readlink() == Path("d")
    assert [path.name for path in loser.root.iterdir()] == [".safekit-rfs"]


def test_what_a_rename_replaces_is_kept_whole(loser: Loser) -> None:
    for name in ("a", "b"):
        (loser.root / name).mkdir()
        (loser.root / name / "f").write_text(f"old {name}")
    loser.apply(changes.Rename(b"a", b"b", 0))
    assert kept(loser.root) == {"a/f": "old a", "b/f": "old b"}
    assert (loser.root / "b" / "f").read_text() == "old a"
