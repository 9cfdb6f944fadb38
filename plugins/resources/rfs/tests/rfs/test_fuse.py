"""The mount itself: covered, serving, covered again; what a killed process leaves; how it is unmounted."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs import syscalls
from safekit_resource_rfs.fuse import mounting
from safekit_resource_rfs.reading import MAX_ABSENT

from .mounts import Served, detach, served


def test_a_covered_directory_shows_one_file_and_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "data").write_text("real")
    with served(tmp_path, covered=True) as mount:
        assert [path.name for path in mount.directory.iterdir()] == ["README.safekit"]
        assert (mount.directory / "README.safekit").read_text() == "the data are on the other node\n"
        assert (mount.real / "data").read_text() == "real"
        for action in (
            lambda: (mount.directory / "x").write_text(""),
            (mount.directory / "x").mkdir,
            lambda: (mount.directory / "README.safekit").write_text("x"),
            (mount.directory / "README.safekit").unlink,
            lambda: mount.directory.chmod(0o777),
            lambda: os.setxattr(mount.directory, "user.x", b""),
        ):
            with pytest.raises(OSError, match="Read-only") as caught:
                action()
            assert caught.value.errno == errno.EROFS
    assert [path.name for path in (tmp_path / "mounted").iterdir()] == ["data"]


def test_it_serves_and_is_covered_again_without_unmounting(tmp_path: Path) -> None:
    with served(tmp_path, covered=True) as mount:
        for word in ("one", "two"):
            assert (mount.directory / "README.safekit").exists()
            mount.tell("serve")
            assert not (mount.directory / "README.safekit").exists()
            (mount.directory / "d").mkdir(exist_ok=True)
            (mount.directory / "d" / word).write_text(word)
            assert (mount.directory / "d" / word).read_text() == word
            mount.tell("cover")
            assert not (mount.directory / "d").exists()
            assert not (mount.directory / "d" / word).exists()
            assert [path.name for path in mount.directory.iterdir()] == ["README.safekit"]
            assert (mount.directory / "README.safekit").read_text() == "covered again\n"
        assert sorted(path.name for path in (mount.real / "d").iterdir()) == ["one", "two"]


def test_what_is_made_while_it_is_covered_is_there_when_it_serves_again(tmp_path: Path) -> None:
    with served(tmp_path) as mount:
        (mount.directory / "d").mkdir()
        names = ["in-root", "d/below", *(f"absent-{number}" for number in range(MAX_ABSENT + 3))]
        for name in names:
            assert not (mount.directory / name).exists()
        mount.tell("cover")
        for name in names:
            assert not (mount.directory / name).exists()
            (mount.real / name).touch()
        mount.tell("serve")
        assert [name for name in names if not (mount.directory / name).exists()] == []


def test_a_file_that_was_open_before_the_cover_is_stale_afterwards(tmp_path: Path) -> None:
    with served(tmp_path) as mount:
        with (mount.directory / "f").open("w+b", buffering=0) as file:
            file.write(b"before")
            mount.tell("cover")
            for action in (
                lambda: file.write(b"after"),
                lambda: os.pread(file.fileno(), 1, 0),
                lambda: os.ftruncate(file.fileno(), 0),
                lambda: os.fchmod(file.fileno(), 0),
            ):
                with pytest.raises(OSError) as caught:
                    action()
                assert caught.value.errno in (errno.ESTALE, errno.EIO)
            mount.tell("serve")
            with pytest.raises(OSError):
                file.write(b"after")
        assert (mount.directory / "f").read_text() == "before"


def test_what_was_written_through_memory_is_there_when_it_is_covered(tmp_path: Path) -> None:
    with served(tmp_path) as mount, (mount.directory / "f").open("w+b") as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[5000] = 7
            assert mount.differences() == []
            mount.tell("cover")
        assert (mount.real / "f").read_bytes()[5000] == 7


def test_what_waits_for_an_answer_gets_an_error_when_it_is_covered(tmp_path: Path) -> None:
    command = ["mkdir", str(tmp_path / "mounted" / "d")]
    with (
        served(tmp_path, kind="holding") as mount,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        mount.tell("cover")
        assert process.wait(5) == 1
        assert process.stderr
        assert "Input/output error" in process.stderr.read()


def test_modifications_are_refused_with_the_recorders_error_and_reads_go_on(tmp_path: Path) -> None:
    with served(tmp_path) as mount:
        (mount.directory / "f").write_text("text")
        mount.tell("refuse", errno.EROFS)
        with pytest.raises(OSError, match="Read-only"):
            (mount.directory / "f").write_text("more")
        with pytest.raises(OSError, match="Read-only"):
            (mount.directory / "g").touch()
        assert (mount.directory / "f").read_text() == "text"
        mount.tell("refuse", 0)
        (mount.directory / "f").write_text("more")
        assert mount.differences() == []


def test_an_error_that_the_kernel_takes_from_nobody_is_an_error_all_the_same(tmp_path: Path) -> None:
    not_supported_by_nfs = 524
    with served(tmp_path) as mount:
        mount.tell("refuse", not_supported_by_nfs)
        with pytest.raises(OSError, match="Input/output"):
            (mount.directory / "g").mkdir()


def test_a_dead_mount_is_detached_at_the_next_start(tmp_path: Path) -> None:
    first = Served(tmp_path, "mirror", "through")
    try:
        first.tell("serve")
        (first.directory / "f").write_text("text")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        with pytest.raises(OSError) as caught:
            list(first.directory.iterdir())
        assert caught.value.errno == errno.ENOTCONN
        with served(tmp_path) as mount:
            assert (mount.directory / "f").read_text() == "text"
        assert not mounting.is_mounted(first.directory)
    finally:
        detach(first.directory)
        for stream in (first.process.stdin, first.process.stdout):
            assert stream
            stream.close()


def test_a_mount_in_use_is_unmounted_only_lazily(tmp_path: Path) -> None:
    with served(tmp_path) as mount:
        with (mount.directory / "f").open("w") as file:
            with pytest.raises(OSError) as caught:
                mount.tell("close", False)
            assert caught.value.errno == errno.EBUSY
            file.write("still here")
            file.flush()
        mount.tell("close", False)
        assert not mounting.is_mounted(mount.directory)
        assert (mount.directory / "f").read_text() == "still here"


def test_a_name_with_blanks_is_mounted_and_found(tmp_path: Path) -> None:
    place = tmp_path / "a b\\c\nü"
    place.mkdir()
    with served(place) as mount:
        assert mounting.is_mounted(mount.directory)
        (mount.directory / "x").touch()
        assert mount.differences() == []
    assert not mounting.is_mounted(place / "mounted")


def wait_for_space(place: Path) -> None:
    end_s = time.monotonic() + 10
    while (found := os.statvfs(place)).f_ffree < 1 or found.f_bavail * found.f_frsize < 600_000:
        assert time.monotonic() < end_s, found
        time.sleep(0.01)


def test_a_full_disk_is_told_and_both_sides_stay_equal(tmp_path: Path) -> None:
    below = tmp_path / "mounted"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100,mode=755", "tmpfs", str(below)], check=True)
    try:
        with served(tmp_path) as mount:
            with (mount.directory / "f").open("wb", buffering=0) as file, pytest.raises(OSError) as caught:
                for _ in range(100):
                    file.write(b"x" * 50_001)
            assert caught.value.errno == errno.ENOSPC
            with pytest.raises(OSError) as caught:
                for number in range(200):
                    (mount.directory / str(number)).mkdir()
            assert caught.value.errno == errno.ENOSPC
            assert mount.differences() == []
            (mount.directory / "f").unlink()
            (mount.directory / "0").rmdir()
            wait_for_space(mount.real)  # the kernel says a little later that it has forgotten what was removed
            (mount.directory / "g").write_bytes(b"y" * 500_000)
            assert mount.differences() == []
    finally:
        detach(below)


@pytest.fixture
def full_place(tmp_path: Path) -> Iterator[Path]:
    """The place of a mount over an ext4 that has little room left."""
    below, image = tmp_path / "mounted", tmp_path / "image"
    below.mkdir()
    with image.open("wb") as file:
        file.truncate(40 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(below)], check=True)
    try:
        (below / "lost+found").rmdir()
        yield tmp_path
    finally:
        detach(below)


@pytest.mark.parametrize("mode", [0x10, 0x11], ids=["zero", "zero-keep-size"])
def test_what_a_full_disk_zeroes_in_part_is_zero_on_both_sides(full_place: Path, mode: int) -> None:
    with served(full_place) as mount, (mount.directory / "f").open("w+b", buffering=0) as file:
        file.write(b"D" * (1 << 20))
        file.truncate(100 << 20)
        os.fsync(file.fileno())
        with pytest.raises(OSError) as caught:
            syscalls.fallocate(file.fileno(), mode, 4096, (100 << 20) - 4096)
        assert caught.value.errno == errno.ENOSPC
        assert os.pread(file.fileno(), 4097, 0) == b"D" * 4096 + b"\0"
        assert mount.differences() == []
