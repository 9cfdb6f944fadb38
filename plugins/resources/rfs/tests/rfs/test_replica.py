"""The secondary's side: changes stay beneath the root, what they replace is kept aside, and what is there is told."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safekit_resource_rfs import changes, local
from safekit_resource_rfs.aligning import same_attributes
from safekit_resource_rfs.aside import Aside
from safekit_resource_rfs.beneath import components
from safekit_resource_rfs.extents import Extent
from safekit_resource_rfs.marks import SLACK_NS
from safekit_resource_rfs.messages import BLOCK_BYTES
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.verifying import difference

from .power import a_disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def replica(root: Path) -> Iterator[Replica]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    replica = Replica(fd, Aside(fd, "20260101T000000-abc"))
    yield replica
    replica.close()
    os.close(fd)


def make(replica: Replica, path: bytes, data: bytes, slot: int = 1) -> None:
    replica.apply(changes.MakeFile(path, slot, 0o644, 0, 0))
    replica.apply(changes.Write(slot, 0, data))


def test_what_is_made_has_exactly_its_mode_and_owner_whatever_the_umask(replica: Replica, root: Path) -> None:
    before = os.umask(0o077)
    try:
        replica.apply(changes.MakeDirectory(b"d", 0o3777, 5, 6))
        replica.apply(changes.MakeFile(b"d/f", 7, 0o6777, 8, 9))
        replica.apply(changes.MakeNode(b"d/n", stat.S_IFIFO | 0o666, 0, 1, 2))
        replica.apply(changes.MakeSymlink(b"d/l", b"/target", 3, 4))
    finally:
        os.umask(before)
    found = {p.name: (oct(p.lstat().st_mode), p.lstat().st_uid, p.lstat().st_gid) for p in root.rglob("*")}
    assert found == {
        "d": ("0o43777", 5, 6),
        "f": ("0o106777", 8, 9),
        "n": ("0o10666", 1, 2),
        "l": ("0o120777", 3, 4),
    }


@pytest.mark.parametrize(
    "path",
    [
        b"/etc/x",
        b"..",
        b"../x",
        b"a/../../x",
        b"a//b",
        b"./x",
        b"x/.",
        b"a\0b",
        b".safekit-rfs",
        b".safekit-rfs/aside/x",
    ],
)
def test_a_path_that_is_none_is_refused(replica: Replica, path: bytes) -> None:
    for change in (
        changes.MakeFile(path, 1, 0o644, 0, 0),
        changes.MakeDirectory(path, 0o755, 0, 0),
        changes.Remove(path, is_directory=False),
        changes.Rename(path, b"x", 0),
        changes.MakeLink(b"x", path),
        changes.SetAttributes(path, mode=0),
        changes.Bind(1, path),
    ):
        with pytest.raises(OSError) as caught:
            replica.apply(change)
        assert caught.value.errno == errno.EINVAL


def test_names_and_paths_that_are_too_long_are_refused(replica: Replica) -> None:
    for path in (b"n" * 256, b"/".join([b"n" * 200] * 200)):
        with pytest.raises(OSError) as caught:
            replica.apply(changes.MakeDirectory(path, 0o755, 0, 0))
        assert caught.value.errno == errno.ENAMETOOLONG


@given(st.binary(max_size=60))
def test_a_path_is_its_components_or_refused(path: bytes) -> None:
    try:
        names = components(path)
    except OSError as error:
        assert error.errno == errno.EINVAL
    else:
        assert b"/".join(names) == path
        assert not {b"", b".", b".."} & set(names)


def test_no_symbolic_link_leads_out(replica: Replica, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("kept")
    (root / "out").symlink_to("../outside")
    (root / "file").symlink_to("../outside/f")
    for change in (
        changes.MakeFile(b"out/x", 1, 0o644, 0, 0),
        changes.Remove(b"out/f", is_directory=False),
        changes.Bind(1, b"out/f"),
        changes.Bind(1, b"file"),
        changes.SetAttributes(b"out/f", mode=0),
    ):
        with pytest.raises(OSError) as caught:
            replica.apply(change)
        assert caught.value.errno in (errno.ELOOP, errno.EINVAL, errno.ENOTDIR)
    replica.apply(changes.SetAttributes(b"file", mode=0o600, mtime_ns=5))
    assert replica.entry(b"file").target == b"../outside/f"
    with pytest.raises(OSError):
        replica.checksums(b"file", 0, 10)
    outside = (tmp_path / "outside" / "f").stat()
    assert (stat.S_IMODE(outside.st_mode), outside.st_mtime_ns == 5) == (0o644, False)


def test_a_slot_means_the_file_and_not_its_name(replica: Replica, root: Path) -> None:
    make(replica, b"f", b"one")
    replica.apply(changes.Rename(b"f", b"g", 0))
    replica.apply(changes.Write(1, 3, b" two"))
    replica.apply(changes.Remove(b"g", is_directory=False))
    replica.apply(changes.Resize(1, 1))
    replica.apply(changes.Unbind(1))
    replica.apply(changes.Unbind(1))
    with pytest.raises(OSError) as caught:
        replica.apply(changes.Write(1, 0, b"x"))
    assert caught.value.errno == errno.EBADF
    for slot in (0, changes.SLOTS + changes.RESYNC_SLOTS, -1):
        (root / "x").touch()
        with pytest.raises(OSError) as caught:
            replica.apply(changes.Bind(slot, b"x"))
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("keep_aside", [False, True])
def test_a_slot_whose_next_file_cannot_be_had_means_no_file(replica: Replica, root: Path, *, keep_aside: bool) -> None:
    (root / "old").write_text("old")
    for taken in (changes.Bind(5, b"missing"), changes.MakeFile(b"old", 5, 0o644, 0, 0)):
        replica.apply(changes.Bind(5, b"old"), keep_aside=keep_aside)
        with pytest.raises(OSError):
            replica.apply(taken, keep_aside=keep_aside)
        for change in (changes.Write(5, 0, b"new"), changes.Resize(5, 0), changes.Allocate(5, 0, 0, 100)):
            with pytest.raises(OSError) as caught:
                replica.apply(change, keep_aside=keep_aside)
            assert caught.value.errno == errno.EBADF
    assert (root / "old").read_text() == "old"


def test_paths_follow_directories_that_move(replica: Replica, root: Path) -> None:
    replica.apply(changes.MakeDirectory(b"a", 0o755, 0, 0))
    replica.apply(changes.MakeDirectory(b"a/b", 0o755, 0, 0))
    make(replica, b"a/b/f", b"1")
    replica.apply(changes.Rename(b"a", b"c", 0))
    replica.apply(changes.MakeDirectory(b"a", 0o755, 0, 0))
    replica.apply(changes.MakeDirectory(b"a/b", 0o755, 0, 0))
    make(replica, b"a/b/f", b"2")
    replica.apply(changes.Rename(b"a", b"c", 2))
    make(replica, b"a/b/g", b"3")
    assert {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()} == {
        "a/b/f": b"1",
        "a/b/g": b"3",
        "c/b/f": b"2",
    }


def test_what_is_synchronised_is_the_file_at_that_position(replica: Replica) -> None:
    make(replica, b"f", b"one")
    descriptors = [replica.to_sync(changes.Sync(1, data_only=True)), replica.to_sync(changes.SyncDirectory(b""))]
    replica.apply(changes.Unbind(1))
    for descriptor in descriptors:
        os.fsync(descriptor)
        os.close(descriptor)
    with pytest.raises(OSError):
        replica.to_sync(changes.Sync(2, data_only=False))


def test_versions_are_kept_aside_before_they_are_replaced(replica: Replica, root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d").chmod(0o750)
    (root / "d" / "f").write_text("old")
    (root / "d" / "link").symlink_to("x")
    (root / "written").write_text("old" * 1000)
    os.setxattr(root / "written", "user.x", b"y")
    os.truncate(root / "written", 1 << 20)
    os.link(root / "written", root / "d" / "hard")
    for change in (
        changes.Remove(b"d/f", is_directory=False),
        changes.Remove(b"d/link", is_directory=False),
        changes.Bind(1, b"written"),
        changes.Write(1, 0, b"new"),
        changes.Remove(b"d/hard", is_directory=False),
        changes.Write(1, 0, b"newer"),
        changes.Remove(b"d/e", is_directory=True),
        changes.Remove(b"d", is_directory=True),
        changes.MakeDirectory(b"d", 0o755, 0, 0),
        changes.MakeFile(b"d/f", 2, 0o644, 0, 0),
        changes.Remove(b"d/f", is_directory=False),
    ):
        replica.apply(change, keep_aside=True)
    kept = root / ".safekit-rfs" / "aside" / "20260101T000000-abc"
    assert (kept / "d" / "f").read_text() == "old"
    assert (kept / "d" / "link").readlink() == Path("x")
    assert (kept / "d" / "e").is_dir()
    assert (kept / "written").read_bytes() == b"old" * 1000 + bytes((1 << 20) - 3000)
    assert (kept / "written").stat().st_blocks < 100
    assert os.getxattr(kept / "written", "user.x") == b"y"
    assert (kept / "d" / "hard").read_bytes().startswith(b"newold")
    assert stat.S_IMODE((root / ".safekit-rfs").stat().st_mode) == 0o700


def test_a_directory_that_goes_is_kept_with_all_that_is_in_it(replica: Replica, root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "f").write_text("deep")
    (root / "d" / "g").write_text("first")
    replica.apply(changes.Remove(b"d/g", is_directory=False), keep_aside=True)
    make(replica, b"d/g", b"second")
    replica.apply(changes.Remove(b"d", is_directory=True), keep_aside=True)
    assert not (root / "d").exists()
    kept = root / ".safekit-rfs" / "aside" / "20260101T000000-abc"
    assert {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()} == {
        "d/e/f": "deep",
        "d/g": "first",
    }
    with pytest.raises(FileNotFoundError):
        replica.apply(changes.Remove(b"d", is_directory=True), keep_aside=True)


@pytest.mark.parametrize("flags", [0, 2])
def test_what_is_renamed_is_kept_under_its_old_name(replica: Replica, root: Path, flags: int) -> None:
    (root / "a").write_text("a's")
    (root / "b").write_text("b's")
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "f").write_text("deep")
    (root / "x").mkdir()
    for change in (
        changes.Rename(b"a", b"b", flags),
        changes.Rename(b"d", b"x", flags),
        changes.Bind(1, b"b"),
        changes.Write(1, 0, b"new"),
        changes.Bind(2, b"x/e/f"),
        changes.Write(2, 0, b"new"),
    ):
        replica.apply(change, keep_aside=True)
    kept = root / ".safekit-rfs" / "aside" / "20260101T000000-abc"
    assert (kept / "a").read_text() == "a's"
    assert (kept / "b").read_text() == "b's"
    assert (kept / "d" / "e" / "f").read_text() == "deep"


def test_a_hole_is_made_of_zeros_where_the_file_system_cannot_punch(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "ramfs", str(tmp_path)], check=True)
    try:
        fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        replica = Replica(fd)
        make(replica, b"f", b"x" * 10_000)
        replica.apply(changes.Allocate(1, 3, 1000, 2000))
        replica.apply(changes.Allocate(1, 3, 9000, 1 << 40))
        with pytest.raises(OSError) as caught:
            replica.apply(changes.Allocate(1, 0, 0, 20_000))
        assert caught.value.errno == errno.EOPNOTSUPP
        replica.close()
        os.close(fd)
        assert (tmp_path / "f").read_bytes() == b"x" * 1000 + bytes(2000) + b"x" * 6000 + bytes(1000)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_directory_is_listed_without_what_is_reserved(replica: Replica, root: Path) -> None:
    (root / ".safekit-rfs").mkdir()
    (root / "d").mkdir()
    (root / "d" / ".safekit-rfs").touch()
    (root / "f").write_text("12345")
    os.link(root / "f", root / "g")
    os.setxattr(root / "g", "user.b", b"2")
    os.setxattr(root / "g", "user.a", b"1")
    entries = {name: replica.entry(name) for name in replica.entry_names(b"")}
    assert sorted(entries) == [b"d", b"f", b"g"]
    assert [entry.name for entry in entries.values()] == list(entries)
    assert entries[b"f"].inode == entries[b"g"].inode
    assert (entries[b"f"].size, entries[b"f"].links) == (5, 2)
    assert len(entries[b"f"].xattrs) == 16
    assert entries[b"d"].xattrs == b""
    assert replica.entry_names(b"d") == [b".safekit-rfs"]
    assert replica.entry(b"").name == b""
    names = replica.names(b"", {entries[b"f"].inode})
    assert sorted(names[entries[b"f"].inode]) == [b"f", b"g"]
    assert replica.xattrs(b"f") == {b"user.a": b"1", b"user.b": b"2"}


def test_attributes_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    with a_disk(tmp_path) as disk:
        for name in ("good", "bad"):
            (disk.path / name).touch()
            os.setxattr(disk.path / name, "user.x", name.encode() * 200)
        disk.corrupt_xattrs("bad")
        fd = os.open(disk.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            replica = Replica(fd)
            assert len(replica.entry(b"good").xattrs) == 16
            bad = replica.entry(b"bad")
            assert not same_attributes(bad, bad)
            assert "cannot be read" in difference(bad, bad)
            with pytest.raises(OSError, match=r"clean|Input/output"):
                replica.xattrs(b"bad")
        finally:
            os.close(fd)


def test_a_birth_is_told_whatever_changes_later(replica: Replica, root: Path) -> None:
    before_ns = time.time_ns() - SLACK_NS
    (root / "f").touch()
    born_ns = replica.entry(b"f").born_ns
    (root / "f").chmod(0o600)
    os.utime(root / "f", ns=(1, 1))
    assert before_ns < born_ns == replica.entry(b"f").born_ns < time.time_ns() + SLACK_NS


def test_data_are_read_without_the_holes(replica: Replica, root: Path) -> None:
    with (root / "f").open("wb") as file:
        file.truncate(10 << 20)
        os.pwrite(file.fileno(), b"x" * 4096, 4 << 20)
    assert replica.read(b"f", 0, 100 << 20) == [Extent(4 << 20, (4 << 20) + 4096, b"x" * 4096)]
    assert replica.read(b"f", 5 << 20, 1 << 20) == []
    digests = replica.checksums(b"f", 0, (4 << 20) + BLOCK_BYTES)
    assert digests[-1] != digests[0] == digests[1]
    assert replica.checksums(b"f", 1 << 30, 10) == (b"",)


def test_a_handle_finds_its_directory_wherever_it_is(replica: Replica, root: Path, tmp_path: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    handle = replica.handle(b"a/b")
    assert replica.path(handle) == b"a/b"
    (root / "a" / "b").rename(root / "c")
    assert replica.path(handle) == b"c"
    assert replica.path(replica.handle(b"")) == b""
    (root / "c").rename(tmp_path / "outside")
    assert replica.path(handle) is None
    (tmp_path / "outside").rmdir()
    assert replica.path(handle) is None
    assert replica.path(b"nonsense") is None


def test_new_data_and_a_new_owner_take_a_capability_away(replica: Replica, root: Path) -> None:
    """As the model has it, and for which a resync sends the capability last."""
    make(replica, b"f", b"one")
    capability = changes.SetXattr(b"f", local.CAPABILITY, bytes.fromhex("0100000202000000000000000000000000000000"))
    for change in (
        changes.Write(1, 0, b"two"),
        changes.Resize(1, 2),
        changes.Allocate(1, 3, 0, 1),
        changes.SetAttributes(b"f", uid=0, gid=0),
    ):
        replica.apply(capability)
        replica.apply(changes.SetAttributes(b"f", mode=0o755, mtime_ns=5))
        assert os.listxattr(root / "f") == ["security.capability"]
        replica.apply(change)
        assert os.listxattr(root / "f") == []


def test_labels_of_security_modules_are_not_replicated() -> None:
    assert [key for key in (b"user.x", b"security.selinux", b"security.capability") if local.is_replicated(key)] == [
        b"user.x",
        b"security.capability",
    ]
