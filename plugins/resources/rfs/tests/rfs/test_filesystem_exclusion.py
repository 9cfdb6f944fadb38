"""What is excluded works on the mount, and does not reach the replica."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs.exclusion import Exclusion

from .mounts import Served, describe, served


@pytest.mark.parametrize(
    ("path", "held"),
    [
        (b"a.tmp", True),
        (b"d/a.tmp", True),
        (b"x.tmp/below", True),
        (b"a.tmp2", False),
        (b"cache/x", True),
        (b"cache/x/y", True),
        (b"cache", False),
        (b"d/cache/x", False),
        (b"log/1/old", True),
        (b"log/1", False),
        (b"", False),
        (b"\xff.tmp", True),
        (b"new\nline.tmp", True),
    ],
)
def test_patterns_hold_names_anywhere_and_paths_from_the_top(path: bytes, held: bool) -> None:
    assert Exclusion(("*.tmp", "cache/*", "log/*/old")).holds(path) == held


def test_without_patterns_nothing_is_held() -> None:
    assert not Exclusion()
    assert not Exclusion().holds(b"x")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, exclude="*.tmp,cache/*") as mount:
        yield mount
        expected = {path: about for path, about in describe(mount.real).items() if b".tmp" not in path}
        errors = mount.tell("flush")
        assert errors == []
        assert describe(mount.second) == {
            path: about for path, about in expected.items() if not path.startswith(b"cache/")
        }


def test_what_is_excluded_is_used_as_any_file(mounted: Served) -> None:
    top = mounted.directory
    (top / "cache" / "d").mkdir(parents=True)
    (top / "cache" / "d" / "f").write_text("x")
    (top / "cache" / "d" / "f").chmod(0o600)
    os.setxattr(top / "cache" / "d" / "f", "user.x", b"y")
    os.truncate(top / "cache" / "d" / "f", 100)
    (top / "cache" / "d").rename(top / "cache" / "e")
    with (top / "a.tmp").open("wb") as file:
        file.write(b"text")
        file.flush()
        os.fsync(file.fileno())
    os.link(top / "a.tmp", top / "b.tmp")
    (top / "a.tmp").rename(top / "c.tmp")
    (top / "b.tmp").unlink()
    (top / "s.tmp").symlink_to("x")
    (top / "real").write_text("x")
    (top / "d.tmp").mkdir()
    (top / "d.tmp" / "f").touch()
    shutil.rmtree(top / "d.tmp")


def test_a_name_that_changes_what_is_replicated_is_made_by_a_copy(mounted: Served) -> None:
    top = mounted.directory
    (top / "a.tmp").write_text("text")
    (top / "d").mkdir()
    (top / "d" / "f").touch()
    for old, new in (("a.tmp", "a"), ("d/f", "f.tmp"), ("d", "cache"), ("d", "d.tmp")):
        with pytest.raises(OSError) as caught:
            (top / old).rename(top / new)
        assert caught.value.errno == errno.EXDEV
    with pytest.raises(OSError):
        os.link(top / "a.tmp", top / "b")
    subprocess.run(["mv", str(top / "a.tmp"), str(top / "a")], check=True)
    subprocess.run(["mv", str(top / "d"), str(top / "cache")], check=True)
    assert (top / "a").read_text() == "text"


def test_a_directory_goes_although_the_replica_has_something_excluded_in_it(mounted: Served) -> None:
    top = mounted.directory
    (top / "d").mkdir()
    (top / "e").mkdir()
    (mounted.second / "d" / "old.tmp").mkdir()
    (mounted.second / "d" / "old.tmp" / "f").touch()
    (mounted.second / "e" / "old.tmp").touch()
    (top / "d").rmdir()
    (top / "f").mkdir()
    (top / "f").rename(top / "e")
