"""What is in force changes in one step or not at all, whatever happens meanwhile."""

from __future__ import annotations

import ast
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from safekit.config.bundle import digest
from safekit.config.store import KEPT, STAGED_FOR_S, Store
from safekit_sdk import ConfigError, RefusedError

OLD = {"module.yaml": b"old", "scripts/start": b"#!/bin/sh\n"}
NEW = {"module.yaml": b"new", "scripts/stop": b"#!/bin/sh\n"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / "etc", tmp_path / "var", clock)


def put(store: Store, files: dict[str, bytes], author: str = "") -> None:
    store.commit("web", store.stage("web", files), author)


class TestTwoPhases:
    def test_staged_files_are_not_in_force(self, store: Store) -> None:
        found = store.stage("web", NEW)
        assert found == digest(NEW)
        assert store.modules() == []
        assert (store.staged_directory("web", found) / "module.yaml").read_bytes() == b"new"

    def test_a_commit_puts_them_in_force(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        put(store, NEW)
        assert store.modules() == ["web"]
        assert (store.files("web"), store.digest("web")) == (NEW, digest(NEW))
        assert (store.directory("web") / "module.yaml").read_bytes() == b"new"
        assert store.edited("web") == NEW
        assert store.staged("web") is None

    def test_an_abort_leaves_what_was(self, store: Store) -> None:
        put(store, OLD)
        found = store.stage("web", NEW)
        store.abort("web", digest=digest(OLD))
        assert store.staged("web") is not None
        store.abort("web", digest=found)
        assert store.staged("web") is None
        assert store.files("web") == OLD

    def test_a_second_commit_of_the_same_is_the_same(self, store: Store) -> None:
        found = store.stage("web", NEW)
        assert store.commit("web", found, "me") == store.commit("web", found)
        assert len(store.versions("web")) == 1

    @pytest.mark.parametrize("staged", [True, False])
    def test_a_commit_of_something_else_is_refused(self, store: Store, staged: bool) -> None:
        put(store, OLD)
        if staged:
            store.stage("web", NEW)
        with pytest.raises(ConfigError, match=r"nothing of module 'web' with digest 000000000000 is staged here"):
            store.commit("web", "0" * 64)
        assert store.files("web") == OLD

    def test_another_change_has_to_wait_until_the_first_is_given_up(self, store: Store, clock: Clock) -> None:
        store.stage("web", OLD)
        clock.now += 7
        store.stage("web", OLD)
        clock.now += STAGED_FOR_S - 1
        with pytest.raises(RefusedError, match="another change of module 'web' was begun 119 s ago"):
            store.stage("web", NEW)
        clock.now += 1
        assert store.stage("web", NEW) == digest(NEW)

    def test_a_clock_that_went_back_does_not_lock_for_ever(self, store: Store, clock: Clock) -> None:
        store.stage("web", OLD)
        clock.now -= 1e6
        assert store.stage("web", NEW) == digest(NEW)

    def test_two_processes_cannot_change_one_module_at_once(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        descriptor = os.open(tmp_path / "var/versions/web/lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with pytest.raises(RefusedError, match="another process changes module 'web' now"):
                store.stage("web", NEW)
        finally:
            os.close(descriptor)
        store.stage("web", NEW)

    def test_modules_are_apart(self, store: Store) -> None:
        put(store, OLD)
        store.commit("db", store.stage("db", NEW))
        assert store.modules() == ["db", "web"]
        assert (store.files("db"), store.files("web")) == (NEW, OLD)


class TestVersions:
    def test_each_version_has_its_time_author_and_digest(self, store: Store, clock: Clock) -> None:
        put(store, OLD, "anna")
        clock.now = 2000.0
        put(store, NEW, "bert")
        assert [(v.number, v.time, v.author, v.digest) for v in store.versions("web")] == [
            (2, 2000.0, "bert", digest(NEW)),
            (1, 1000.0, "anna", digest(OLD)),
        ]

    def test_the_last_ones_are_kept(self, store: Store) -> None:
        for number in range(KEPT + 3):
            put(store, {"module.yaml": str(number).encode()})
        assert [version.number for version in store.versions("web")] == list(range(KEPT + 3, 3, -1))
        assert store.version_files("web", 4) == {"module.yaml": b"3"}
        with pytest.raises(ConfigError, match="module 'web' has no version 3\n  to do: kept: 4, 5, 6,"):
            store.version_files("web", 3)

    def test_an_earlier_version_comes_back_as_a_new_one(self, store: Store) -> None:
        put(store, OLD)
        put(store, NEW)
        store.commit("web", store.restore("web", 1), "anna")
        assert store.files("web") == OLD
        assert [version.number for version in store.versions("web")] == [3, 2, 1]

    def test_what_is_staged_is_no_version_yet(self, store: Store) -> None:
        put(store, OLD)
        store.stage("web", NEW)
        assert [version.number for version in store.versions("web")] == [1]

    def test_the_files_in_force_stay_where_they_are_when_newer_ones_come(self, store: Store) -> None:
        put(store, OLD)
        before = store.directory("web")
        put(store, NEW)
        assert (before / "module.yaml").read_bytes() == b"old"

    def test_a_version_that_was_changed_in_place_is_found(self, store: Store) -> None:
        put(store, OLD)
        (store.directory("web") / "module.yaml").write_bytes(b"sneaked in")
        with pytest.raises(ConfigError, match="version 1 of module 'web' is damaged"):
            store.files("web")

    def test_a_removed_module_can_be_had_again(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        store.remove("web")
        assert store.modules() == []
        assert not (tmp_path / "etc/modules/web").exists()
        with pytest.raises(ConfigError, match="there is no module 'web' on this node\n  to do: there are: none"):
            store.files("web")
        store.commit("web", store.restore("web", 1))
        assert store.files("web") == OLD


class TestTheCopyInEtc:
    def test_programs_are_executable_and_directories_can_be_entered(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        for place in (tmp_path / "etc/modules/web", store.directory("web")):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*")}
            assert modes == {"module.yaml": 0o644, "scripts": 0o755, "start": 0o755}

    def test_an_edit_counts_when_it_is_applied(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        edited = tmp_path / "etc/modules/web/module.yaml"
        edited.write_bytes(b"edited")
        assert store.files("web") == OLD
        put(store, store.edited("web"))
        assert store.files("web")["module.yaml"] == b"edited"
        assert not (tmp_path / "etc/modules/web.unapplied").exists()

    @pytest.mark.parametrize("action", ["commit", "remove"])
    def test_an_edit_that_was_not_applied_is_kept_aside(self, store: Store, tmp_path: Path, action: str) -> None:
        put(store, OLD)
        (tmp_path / "etc/modules/web/module.yaml").write_bytes(b"edited")
        if action == "commit":
            put(store, NEW)
        else:
            store.remove("web")
        assert (tmp_path / "etc/modules/web.unapplied/module.yaml").read_bytes() == b"edited"
        assert (tmp_path / "etc/modules/web").exists() == (action == "commit")

    def test_a_copy_that_cannot_be_written_does_not_hinder_a_change(self, store: Store, tmp_path: Path) -> None:
        put(store, OLD)
        (tmp_path / "etc/modules/.web.new").symlink_to("/dev/null/x")
        (tmp_path / "etc/modules").rename(tmp_path / "etc/away")
        (tmp_path / "etc/modules").write_text("in the way")
        put(store, NEW)
        assert store.files("web") == NEW
        (tmp_path / "etc/modules").unlink()
        store.recover()
        assert store.edited("web") == NEW


class TestNames:
    @pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "a.b", "a b", "x" * 64])
    def test_a_name_that_could_leave_the_directory_is_refused(self, store: Store, name: str, tmp_path: Path) -> None:
        for act in (store.files, store.abort, store.remove, store.versions, lambda name: store.stage(name, OLD)):
            with pytest.raises(ConfigError, match="cannot be the name of a module"):
                act(name)
        assert not (tmp_path / "var").exists()

    def test_bad_files_are_refused_before_anything_is_written(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be the path"):
            store.stage("web", {**OLD, "../../x": b""})
        assert not (tmp_path / "var").exists()


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=100)


def test_a_crash_at_any_point_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """Every change of the file system in every operation is a point at which a process is killed."""
    script = Path(__file__).with_name("crashes.py")
    done = run([sys.executable, str(script), str(tmp_path)])
    assert done.returncode == 0, done.stderr
    points = ast.literal_eval(done.stdout)
    assert points.keys() == {"stage", "commit", "abort", "remove", "recover"}
    assert all(count >= 10 for count in points.values()), points


FULL_DISK = """
    import subprocess, sys
    from pathlib import Path
    from safekit.config.store import Store
    from safekit_sdk import ConfigError

    place = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], check=True)
    store = Store(place / "etc", place / "var")
    old = {"module.yaml": b"old"}
    store.commit("web", store.stage("web", old))
    try:
        store.stage("web", {"module.yaml": b"new", "big": b"x" * 400_000})
    except ConfigError as error:
        print(error)
    assert store.files("web") == old and store.staged("web") is None
    assert sorted(p.name for p in (place / "var/versions/web").iterdir()) == ["1", "current", "lock", "published"]

    new = {"module.yaml": b"new", "page": b"<html>" * 4000}
    staged = store.stage("web", new)
    filler = (place / "filler").open("wb", buffering=0)
    try:
        while True:
            filler.write(b"x" * 4096)
    except OSError as error:
        print(error.strerror)
    store.commit("web", staged, "me")
    assert store.files("web") == new
    assert store.edited("web") == old
    filler.close()
    (place / "filler").unlink()
    store.recover()
    assert store.edited("web") == new
"""


def test_a_full_disk_leaves_the_old_and_does_not_hinder_a_commit(tmp_path: Path) -> None:
    """A change that is staged everywhere must not fail on the node whose disk has filled up since."""
    argv = ["unshare", "--mount", sys.executable, "-c", dedent(FULL_DISK), str(tmp_path)]
    done = run(argv)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        f"{tmp_path}/var/versions/web: the configuration cannot be written: No space left on device",
        "  to do: make room on the disk, or mend it; what was in force still is",
        "No space left on device",
    ]
