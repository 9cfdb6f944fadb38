"""What is refused is refused with the same error as by a plain directory; the table says which."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .mounts import Served, served
from .users import NOBODY, as_nobody

LONG = "n" * 256


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("errors")
    with served(place) as mount:
        (place / "plain").mkdir()
        for root in (mount.directory, place / "plain"):
            _prepare(root)
        for path in (place, place.parent, place.parent.parent):
            path.chmod(0o755)
        yield mount
        assert mount.differences() == []


def _prepare(root: Path) -> None:
    (root / "dir").mkdir()
    (root / "full" / "below").mkdir(parents=True)
    (root / "file").write_text("text")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "to-dir").symlink_to("dir")
    os.mkfifo(root / "fifo")
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "sticky" / "roots").touch()
    (root / "closed").mkdir(mode=0o700)
    (root / "closed" / "secret").touch()
    (root / "ours").write_text("#!/bin/sh\n")
    (root / "ours").chmod(0o755)
    (root / "open").mkdir()
    (root / "open").chmod(0o777)
    root.chmod(0o755)


def make(path: Path, flags: int = os.O_CREAT | os.O_EXCL | os.O_WRONLY) -> None:
    os.close(os.open(path, flags, 0o644))


TABLE: tuple[tuple[str, int, Callable[[Path], Any]], ...] = (
    ("create over a file", errno.EEXIST, lambda r: make(r / "file")),
    ("create over a directory", errno.EEXIST, lambda r: make(r / "dir")),
    ("create over a dangling link", errno.EEXIST, lambda r: make(r / "dangling")),
    ("create in a file", errno.ENOTDIR, lambda r: make(r / "file" / "x")),
    ("create in nothing", errno.ENOENT, lambda r: make(r / "none" / "x")),
    ("create with a long name", errno.ENAMETOOLONG, lambda r: make(r / LONG)),
    ("open a loop", errno.ELOOP, lambda r: make(r / "loop", os.O_RDONLY)),
    ("open a link unfollowed", errno.ELOOP, lambda r: make(r / "dangling", os.O_RDONLY | os.O_NOFOLLOW)),
    ("open a dangling link", errno.ENOENT, lambda r: make(r / "dangling", os.O_RDONLY)),
    ("open a directory for writing", errno.EISDIR, lambda r: make(r / "dir", os.O_WRONLY)),
    ("open a file as a directory", errno.ENOTDIR, lambda r: make(r / "file", os.O_RDONLY | os.O_DIRECTORY)),
    ("open a fifo nobody reads", errno.ENXIO, lambda r: make(r / "fifo", os.O_WRONLY | os.O_NONBLOCK)),
    ("mkdir over a directory", errno.EEXIST, lambda r: (r / "dir").mkdir()),
    ("mkdir over a file", errno.EEXIST, lambda r: (r / "file").mkdir()),
    ("mkdir with a long name", errno.ENAMETOOLONG, lambda r: (r / LONG).mkdir()),
    ("rmdir of a full directory", errno.ENOTEMPTY, lambda r: (r / "full").rmdir()),
    ("rmdir of a file", errno.ENOTDIR, lambda r: (r / "file").rmdir()),
    ("rmdir of a link", errno.ENOTDIR, lambda r: (r / "to-dir").rmdir()),
    ("rmdir of nothing", errno.ENOENT, lambda r: (r / "none").rmdir()),
    ("unlink of a directory", errno.EISDIR, lambda r: (r / "dir").unlink()),
    ("unlink of nothing", errno.ENOENT, lambda r: (r / "none").unlink()),
    ("unlink below a file", errno.ENOTDIR, lambda r: (r / "file" / "x").unlink()),
    ("rename of nothing", errno.ENOENT, lambda r: (r / "none").rename(r / "x")),
    ("rename over a full directory", errno.ENOTEMPTY, lambda r: (r / "dir").rename(r / "full")),
    ("rename of a directory over a file", errno.ENOTDIR, lambda r: (r / "dir").rename(r / "file")),
    ("rename of a file over a directory", errno.EISDIR, lambda r: (r / "file").rename(r / "dir")),
    ("rename into itself", errno.EINVAL, lambda r: (r / "full").rename(r / "full" / "below" / "x")),
    ("rename to another file system", errno.EXDEV, lambda r: (r / "file").rename("/dev/shm/x")),
    ("link to another file system", errno.EXDEV, lambda r: os.link(r / "file", "/dev/shm/x")),
    ("link over a file", errno.EEXIST, lambda r: os.link(r / "file", r / "fifo")),
    ("link of a directory", errno.EPERM, lambda r: os.link(r / "dir", r / "x")),
    ("link of nothing", errno.ENOENT, lambda r: os.link(r / "none", r / "x")),
    ("symlink over a file", errno.EEXIST, lambda r: (r / "file").symlink_to("x")),
    ("symlink with a long target", errno.ENAMETOOLONG, lambda r: (r / "x").symlink_to("t" * 4097)),
    ("readlink of a file", errno.EINVAL, lambda r: (r / "file").readlink()),
    ("truncate of a directory", errno.EISDIR, lambda r: os.truncate(r / "dir", 0)),
    ("truncate beyond the largest file", errno.EFBIG, lambda r: os.truncate(r / "file", 1 << 62)),
    ("truncate below zero", errno.EINVAL, lambda r: os.truncate(r / "file", -1)),
    ("list a file", errno.ENOTDIR, lambda r: list((r / "file").iterdir())),
    ("get what is not there", errno.ENODATA, lambda r: os.getxattr(r / "file", "user.none")),
    ("remove what is not there", errno.ENODATA, lambda r: os.removexattr(r / "file", "user.none")),
    ("replace what is not there", errno.ENODATA, lambda r: os.setxattr(r / "file", "user.n", b"", os.XATTR_REPLACE)),
    ("set of an unknown kind", errno.ENOTSUP, lambda r: os.setxattr(r / "file", "unknown.x", b"")),
    ("set of a user's on a fifo", errno.EPERM, lambda r: os.setxattr(r / "fifo", "user.x", b"")),
    ("bind a socket over a file", errno.EEXIST, lambda r: os.mknod(r / "file", stat.S_IFSOCK | 0o600)),
    ("seek behind the end", errno.ENXIO, lambda r: seek(r / "file", 100, os.SEEK_DATA)),
)


def seek(path: Path, offset: int, whence: int) -> None:
    with path.open("rb") as file:
        os.lseek(file.fileno(), offset, whence)


@pytest.mark.parametrize(("number", "action"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_error_is_the_same_as_in_a_plain_directory(
    mounted: Served, number: int, action: Callable[[Path], Any]
) -> None:
    for root in (mounted.directory.parent / "plain", mounted.directory):
        with pytest.raises(OSError) as caught:
            action(root)
        assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number], root


USER_TABLE: tuple[tuple[str, str, str], ...] = (
    ("remove another's file from a sticky directory", "EPERM", "os.unlink('sticky/roots')"),
    ("rename another's file in a sticky directory", "EPERM", "os.rename('sticky/roots', 'sticky/x')"),
    ("look into a closed directory", "EACCES", "os.stat('closed/secret')"),
    ("list a closed directory", "EACCES", "os.listdir('closed')"),
    ("write another's file", "EACCES", "open('file', 'w')"),
    ("truncate another's file", "EACCES", "os.truncate('file', 0)"),
    ("create where it must not", "EACCES", "open('x', 'w')"),
    ("remove where it must not", "EACCES", "os.unlink('file')"),
    ("chmod of another's file", "EPERM", "os.chmod('file', 0o777)"),
    ("chown of another's file", "EPERM", "os.chown('file', 65534, -1)"),
    ("give its own file away", "EPERM", "open('open/own', 'w'); os.chown('open/own', 0, -1)"),
    ("times of another's file", "EPERM", "os.utime('file', (1, 1))"),
    ("touch another's file", "EACCES", "os.utime('file')"),
    ("make a device", "EPERM", "os.mknod('open/dev', 0o20666, os.makedev(1, 3))"),
    ("attributes of another's file", "EACCES", "os.setxattr('file', 'user.x', b'')"),
    ("trusted attributes of its own", "EPERM", "open('open/own', 'w'); os.setxattr('open/own', 'trusted.x', b'')"),
)


@pytest.mark.parametrize(("name", "code"), [row[1:] for row in USER_TABLE], ids=[row[0] for row in USER_TABLE])
def test_another_user_is_refused_the_same_as_in_a_plain_directory(mounted: Served, name: str, code: str) -> None:
    script = f"import os, errno\ntry:\n    {code}\nexcept OSError as e:\n    print(errno.errorcode[e.errno])"
    for root in (mounted.directory.parent / "plain", mounted.directory):
        assert as_nobody(root, script) == name, root


def test_a_program_that_runs_cannot_be_written(mounted: Served) -> None:
    program = mounted.directory / "program"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([str(program), "30"]) as process:
        with pytest.raises(OSError) as caught:
            program.open("r+b")
        process.kill()
    assert caught.value.errno == errno.ETXTBSY


def test_what_another_user_makes_is_its_own_with_its_umask(mounted: Served) -> None:
    (mounted.directory / "group").mkdir()
    os.chown(mounted.directory / "group", 0, 1234)
    (mounted.directory / "group").chmod(0o2777)
    script = (
        "import os\nos.umask(0o027)\nfor d in ('open', 'group'):\n"
        " os.close(os.open(d + '/f', os.O_CREAT | os.O_WRONLY, 0o666)); os.mkdir(d + '/d'); os.symlink('x', d + '/l')\n"
    )
    as_nobody(mounted.directory, script)
    found = {
        f"{d}/{n}": (oct((s := (mounted.directory / d / n).lstat()).st_mode), s.st_uid, s.st_gid)
        for d in ("open", "group")
        for n in ("f", "d", "l")
    }
    assert found == {
        "open/f": ("0o100640", NOBODY, NOBODY),
        "open/d": ("0o40750", NOBODY, NOBODY),
        "open/l": ("0o120777", NOBODY, NOBODY),
        "group/f": ("0o100640", NOBODY, 1234),
        "group/d": ("0o42750", NOBODY, 1234),
        "group/l": ("0o120777", NOBODY, 1234),
    }


@pytest.mark.parametrize(
    "action",
    ["open('own', 'r+').write('x')", "os.truncate('own', 1)", "os.posix_fallocate(os.open('own', os.O_RDWR), 0, 99)"],
)
def test_a_modification_by_its_owner_clears_set_user_id(mounted: Served, action: str) -> None:
    own = mounted.directory / "open" / "own-set-id"
    own.write_text("text")
    os.chown(own, NOBODY, NOBODY)
    own.chmod(0o6755)
    as_nobody(own.parent, "import os\n" + action.replace("own", own.name))
    assert oct(own.stat().st_mode) == "0o100755"
    own.chmod(0o6755)
    os.chown(own, 1, 1)
    assert oct(own.stat().st_mode) == "0o100755"


def test_modes_of_files_are_no_obstacle_for_who_made_them(mounted: Served) -> None:
    script = (
        "import os\nfd = os.open('open/readonly', os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o400)\nos.write(fd, b'x' * 10)"
    )
    as_nobody(mounted.directory, script)
    assert (mounted.directory / "open" / "readonly").read_bytes() == b"x" * 10


def test_default_acls_are_inherited_and_reach_the_replica(mounted: Served) -> None:
    shared = mounted.directory / "shared"
    shared.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:1000:rwx,g:1001:rx", str(shared)], check=True)
    subprocess.run(["setfacl", "-m", "u:65534:rwx", str(shared)], check=True)
    (shared / "f").touch()
    (shared / "d").mkdir()
    assert (
        "user:1000:rwx"
        in subprocess.run(["getfacl", "-n", str(shared / "f")], capture_output=True, text=True, check=True).stdout
    )
    assert (
        "default:user:1000:rwx"
        in subprocess.run(["getfacl", "-n", shared / "d"], capture_output=True, text=True, check=True).stdout
    )
    as_nobody(shared, "open('by-acl', 'w')")
    (shared / "f").chmod(0o640)
    subprocess.run(["setfacl", "-b", str(shared / "d")], check=True)


def test_what_is_reserved_is_neither_seen_nor_made(mounted: Served) -> None:
    (mounted.real / ".safekit-rfs").mkdir(exist_ok=True)
    reserved = mounted.directory / ".safekit-rfs"
    assert not reserved.exists()
    assert ".safekit-rfs" not in {path.name for path in mounted.directory.iterdir()}
    for action in (reserved.mkdir, reserved.touch, lambda: (mounted.directory / "file").rename(reserved)):
        with pytest.raises(PermissionError):
            action()


def test_a_tree_is_deep(mounted: Served) -> None:
    path = mounted.directory / "/".join("d" * 900)
    path.mkdir(parents=True)
    (path / "f").write_text("deep")
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert (path / "f").read_text() == "deep"


def test_shared_memory_of_two_processes_and_the_file_agree(mounted: Served) -> None:
    path = mounted.directory / "shared-memory"
    path.write_bytes(bytes(10_000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        code = f"import mmap; f = open({str(path)!r}, 'r+b'); mmap.mmap(f.fileno(), 0)[5000] = 7"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert memory[5000] == 7
        memory[1] = 1
        memory.flush()
        assert os.pread(file.fileno(), 2, 0) == b"\0\1"
