"""Real programs work on the mount, and afterwards the replica is the same."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs.syscalls import read_directory

from .exerciser import Exerciser
from .mounts import Served, compare, served

CACHES = ("through", pytest.param("writeback", marks=pytest.mark.long))


@pytest.fixture(params=CACHES)
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, cache=request.param) as mount:
        yield mount
        assert mount.differences() == []
        mount.tell("cover")
        mount.tell("serve")
        assert compare(mount.directory, mount.real) == []


def run(*command: str | Path, cwd: Path) -> str:
    environment = {**os.environ, "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def make_all_kinds(top: Path) -> None:
    """Every kind of file, with holes, links, attributes, owners and strange names."""
    (top / "d" / "e").mkdir(parents=True)
    for name in (b"plain", b"a b", b"new\nline", "ü".encode(), b"\xff\xfe", b"-dash", b"n" * 255):
        (top / "d" / os.fsdecode(name)).write_bytes(name * 1000)
    with (top / "sparse").open("wb") as file:
        for offset in (0, 1 << 20, 40 << 20):
            file.seek(offset)
            file.write(b"data" * 3000)
        file.truncate(50 << 20)
    (top / "link").symlink_to("d/plain")
    (top / "dangling").symlink_to("/nowhere/at all")
    os.link(top / "sparse", top / "d" / "hard")
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o60600, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(top, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
    os.chown(top / "d" / "plain", 1000, 2000)
    (top / "d" / "plain").chmod(0o4751)
    (top / "d" / "e").chmod(0o3777)
    os.setxattr(top / "d" / "plain", "user.key", b"value" * 100)
    os.setxattr(top / "d", "trusted.key", b"\0\xff")
    os.setxattr(top / "link", "trusted.link", b"of the link", follow_symlinks=False)
    capability = bytes.fromhex("0100000202000000000000000000000000000000")
    os.setxattr(top / "d" / "a b", "security.capability", capability)
    subprocess.run(["setfacl", "-m", "u:1000:rw", top / "d" / "-dash"], check=True)
    os.utime(top / "d", ns=(1, 1_000_000_001))
    os.utime(top / "link", ns=(-5, -1_500_000_000), follow_symlinks=False)


def test_all_kinds_of_files_are_made_and_removed(mounted: Served, tmp_path: Path) -> None:
    (mounted.directory / "made").mkdir()
    make_all_kinds(mounted.directory / "made")
    assert mounted.differences() == []
    run("cp", "-a", mounted.directory / "made", mounted.directory / "copied", cwd=tmp_path)
    shutil.rmtree(mounted.directory / "made")


def test_tar_packs_and_unpacks_all_kinds_of_files(mounted: Served, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make_all_kinds(source)
    (source / "socket").unlink()
    options = ("--xattrs", "--xattrs-include=*", "--sparse", "--numeric-owner", "--format=pax")
    run("tar", "-cf", tmp_path / "first.tar", *options, "-C", source, ".", cwd=tmp_path)
    run("tar", "-xpf", tmp_path / "first.tar", *options, "-C", mounted.directory, cwd=tmp_path)
    assert mounted.differences() == []
    different = [
        line for line in compare(source, mounted.real) if not line.startswith(("'': ", "'sparse'", "'d/hard'"))
    ]
    assert different == []
    run("tar", "-cf", tmp_path / "second.tar", *options, "-C", mounted.directory, ".", cwd=tmp_path)
    run("tar", "-df", tmp_path / "second.tar", *options, "-C", source, cwd=tmp_path)


def test_git_commits_clones_packs_and_checks(mounted: Served) -> None:
    one = mounted.directory / "one"
    one.mkdir()
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main")
    run(*git, "init", "-q", cwd=one)
    for number in range(150):
        path = one / f"dir{number % 7}" / f"file{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n" * number)
    run(*git, "add", ".", cwd=one)
    run(*git, "commit", "-qm", "first", cwd=one)
    run("git", "mv", "dir1", "moved", cwd=one)
    run(*git, "commit", "-qm", "second", cwd=one)
    run("git", "clone", "-q", "--no-hardlinks", "one", "two", cwd=mounted.directory)
    run("git", "clone", "-q", "--local", "one", "three", cwd=mounted.directory)
    run("git", "gc", "-q", "--prune=now", cwd=mounted.directory / "two")
    for name in ("one", "two", "three"):
        run("git", "fsck", "--full", "--strict", cwd=mounted.directory / name)
        assert run("git", "status", "--porcelain", cwd=mounted.directory / name) == ""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_keeps_its_database(mounted: Served, mode: str) -> None:
    path = mounted.directory / "base.db"
    with sqlite3.connect(path) as base:
        assert base.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
        base.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
        for number in range(60):
            base.execute("INSERT INTO t (b) VALUES (?)", (bytes([number]) * 3000,))
            base.commit()
        base.execute("DELETE FROM t WHERE a % 3 = 0")
        base.commit()
        base.execute("VACUUM")
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*), sum(length(b)) FROM t").fetchone() == (40, 120_000)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        other.execute("INSERT INTO t (b) VALUES ('x')")
        other.commit()
    other.close()
    base.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_whose_program_is_killed_has_all_that_was_committed(mounted: Served, mode: str) -> None:
    path = mounted.directory / "base.db"
    script = (
        f"import sqlite3\nbase = sqlite3.connect({str(path)!r})\nbase.execute('PRAGMA journal_mode={mode}')\n"
        "base.execute('PRAGMA synchronous=FULL')\nbase.execute('CREATE TABLE IF NOT EXISTS t (b)')\n"
        "while True:\n base.execute('INSERT INTO t VALUES (randomblob(5000))')\n base.commit()\n print(flush=True)\n"
    )
    committed = 0
    for count in (1, 7, 30):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as program:
            assert program.stdout
            committed += sum(len(program.stdout.readline()) for _ in range(count))
            program.kill()
            committed += len(program.stdout.read())
        base = sqlite3.connect(path)
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert base.execute("SELECT count(*) FROM t").fetchone()[0] >= committed
        base.close()


def test_what_two_processes_append_is_all_there(mounted: Served) -> None:
    script = (
        "import os, sys\nfd = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "for _ in range(300): os.write(fd, sys.argv[1].encode() * 99 + b'\\n')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, word], cwd=mounted.directory) for word in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = (mounted.directory / "log").read_text().split()
    assert sorted(lines) == ["a" * 99] * 300 + ["b" * 99] * 300


def test_a_listing_goes_on_at_each_of_its_places(mounted: Served) -> None:
    top = mounted.directory / "places"
    top.mkdir()
    for number in range(500):
        (top / f"{number:04}").touch()
    fd = os.open(top, os.O_RDONLY)
    listed = []
    while found := read_directory(fd):
        listed += found
    for here, following in zip(listed[::37], listed[1::37], strict=False):
        os.lseek(fd, here.offset, os.SEEK_SET)
        assert read_directory(fd)[0].name == following.name
    os.close(fd)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_is_exercised_in_every_way_has_what_it_should(mounted: Served, seed: int) -> None:
    with Exerciser(mounted.directory / "file", seed) as exerciser:
        for _ in range(400):
            exerciser.step()
        exerciser.check()


def test_fio_verifies_what_it_wrote(mounted: Served) -> None:
    size = ("--size=8m", "--bs=4k-64k", "--bsrange=4k-64k", "--verify=crc32c", "--verify_fatal=1", "--randrepeat=1")
    for engine, direct in (("psync", 0), ("psync", 1), ("mmap", 0), ("libaio", 1)):
        name = f"--name={engine}{direct}"
        options = (f"--ioengine={engine}", f"--direct={direct}", "--rw=randwrite", "--fsync=50", "--iodepth=8")
        run("fio", name, *options, *size, f"--directory={mounted.directory}", cwd=mounted.directory)


def test_many_entries_are_listed_once_each_while_others_come_and_go(mounted: Served) -> None:
    top = mounted.directory / "many"
    top.mkdir()
    names = {f"{number:05}-{'x' * (number % 100)}" for number in range(3000)}
    for name in names:
        (top / name).touch()
    seen = []
    with os.scandir(top) as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number % 10 == 0:
                (top / f"new{number}").touch()
                (top / f"new{number}").unlink()
    assert sorted(name for name in seen if not name.startswith("new")) == sorted(names)
    assert len(list(top.iterdir())) == 3000
    shutil.rmtree(top)
    assert not top.exists()


def test_a_file_that_is_removed_while_open_can_still_be_used(mounted: Served) -> None:
    path = mounted.directory / "f"
    with path.open("w+b", buffering=0) as file:
        file.write(b"first")
        path.unlink()
        path.write_text("another")
        file.write(b" second")
        os.fchmod(file.fileno(), 0o600)
        os.ftruncate(file.fileno(), 9)
        os.fsync(file.fileno())
        Path("/proc/sys/vm/drop_caches").write_text("3")
        assert os.pread(file.fileno(), 100, 0) == b"first sec"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert path.read_text() == "another"


def test_directories_move_with_open_files_below(mounted: Served) -> None:
    (mounted.directory / "a" / "b").mkdir(parents=True)
    (mounted.directory / "other").mkdir()
    with (mounted.directory / "a" / "b" / "f").open("wb", buffering=0) as file:
        file.write(b"one ")
        (mounted.directory / "a").rename(mounted.directory / "other" / "c")
        file.write(b"two ")
        os.fchmod(file.fileno(), 0o640)
        (mounted.directory / "other" / "c" / "b").rename(mounted.directory / "top")
        file.write(b"three")
    assert (mounted.directory / "top" / "f").read_text() == "one two three"


def test_more_files_are_open_than_descriptors_and_slots_are_kept(mounted: Served) -> None:
    files = [(mounted.directory / str(number)).open("w+b", buffering=0) for number in range(1500)]
    for _ in range(2):
        for number, file in enumerate(files):
            file.write(b"%d\n" % number)
    for number, file in enumerate(files):
        assert os.pread(file.fileno(), 100, 0) == b"%d\n" % number * 2
        file.close()


@pytest.mark.parametrize(
    ("flags", "count"),
    [(os.O_SYNC, 1), (os.O_DSYNC, 1), (os.O_DSYNC | os.O_DIRECT, 1), (os.O_SYNC | os.O_DIRECT, 1), (os.O_APPEND, 0)],
)
def test_a_synchronous_write_is_answered_when_the_disks_have_it(mounted: Served, flags: int, count: int) -> None:
    fd = os.open(mounted.directory / "f", os.O_CREAT | os.O_RDWR | flags)
    with mmap.mmap(-1, 8192) as aligned:
        aligned.write(os.urandom(8192))
        assert os.writev(fd, [aligned]) == 8192
    assert min(1, mounted.tell("count_synced")) == count
    os.close(fd)


def test_locks_are_kept_between_processes(mounted: Served) -> None:
    (mounted.directory / "f").touch()
    for call in (fcntl.flock, fcntl.lockf):
        with (mounted.directory / "f").open("r+b") as file:
            call(file, fcntl.LOCK_EX)
            code = f"import fcntl; fcntl.{call.__name__}(open('f', 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            command = [sys.executable, "-c", code]
            assert subprocess.run(command, cwd=mounted.directory, check=False, capture_output=True).returncode == 1
            call(file, fcntl.LOCK_UN)
            assert subprocess.run(command, cwd=mounted.directory, check=False).returncode == 0
