"""What on this machine would make it fail to replicate a directory, found before anything changes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_rfs import syscalls
from safekit_resource_rfs.fuse.mounting import DEVICE, KIND
from safekit_sdk import ConfigError

OWN_FOLDER: Final = ".safekit-rfs"
OWNER: Final = "owner"
NETWORK_TYPES: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "ocfs2", "gfs2", "lustre")
)
MAX_OWNER_BYTES: Final = 4096
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    target: Path
    kind: str


def mounts() -> list[Mount]:
    """This process's, in the order in which they were made: a later one on the same place covers an earlier one."""
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        target = _ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), before.split(b" ")[4])
        found.append(Mount(Path(os.fsdecode(target)), after.split(b" ")[0].decode(errors="replace")))
    return found


def mount_of(directory: Path, all_mounts: list[Mount]) -> Mount:
    """The one that the directory lies in or is the root of."""
    above = [mount for mount in all_mounts if directory == mount.target or mount.target in directory.parents]
    deepest = max(len(mount.target.parts) for mount in above)
    return [mount for mount in above if len(mount.target.parts) == deepest][-1]


def findings(directory: Path) -> list[str]:
    """One sentence each with what to do; empty when nothing stands against it, also while it is mounted by us."""
    return [*_of_kernel(), *_of_place(directory)]


def _of_kernel() -> Iterator[str]:
    if not DEVICE.exists():
        yield f"{DEVICE} is not there; load the kernel's module: modprobe fuse (in a container: pass the device in)"
    elif not os.access(DEVICE, os.R_OK | os.W_OK):
        yield f"{DEVICE} cannot be opened; run safekitd as root, and allow the device in its container"


def _of_place(directory: Path) -> Iterator[str]:
    all_mounts = mounts()
    try:
        real = directory.resolve(strict=True)
    except OSError as error:
        if any(mount.target == directory and mount.kind == KIND for mount in all_mounts):
            return  # a data path that died left its mount behind; the next start removes it
        reason = "is not there; create it" if error.errno == errno.ENOENT else f"cannot be reached: {error.strerror}"
        yield f"{directory} {reason}, on both nodes, with the owner and the mode that the application needs"
        return
    if real != directory:
        yield f"{directory} is reached by a symbolic link; give its real path: {real}"
    elif not directory.is_dir():
        yield f"{directory} is not a directory; give one that is"
    elif (mount := mount_of(directory, all_mounts)).kind == KIND:
        if mount.target != directory:
            yield f"{directory} lies in {mount.target}, which is replicated already; one of the two is enough"
    else:
        yield from of_file_system(directory, mount)
        yield from _of_surroundings(directory, all_mounts)


def of_file_system(directory: Path, mount: Mount) -> Iterator[str]:
    """What stands against the kind of file system that it is on."""
    if mount.kind in NETWORK_TYPES or mount.kind.startswith("fuse"):
        yield f"{directory} is on {mount.target}, of type {mount.kind}; rfs needs a local file system: ext4, xfs, btrfs"
        return
    if not has_handles(directory):
        yield (
            f"{directory} is on {mount.target}, of type {mount.kind}, which gives no file handles; "
            "use ext4, xfs or btrfs"
        )
    try:
        os.listxattr(directory)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            yield f"{directory} is on {mount.target}, which has no extended attributes; mount it with user_xattr"
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        yield f"{directory} is on {mount.target}, which is read-only; mount it read-write"


def _of_surroundings(directory: Path, all_mounts: list[Mount]) -> Iterator[str]:
    for mount in all_mounts:
        if directory in mount.target.parents:
            yield f"{mount.target} is mounted below {directory}; which hides what is there; unmount it"
    for parent in directory.parents:
        if (parent / OWN_FOLDER).is_dir():
            yield f"{directory} lies in {parent}, which is replicated already; one of the two is enough"


def has_handles(directory: Path) -> bool:
    """Whether the file system names its files by handles, which marks are made of."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(syscalls.handle_of(descriptor))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def claim(root_fd: int, directory: Path, module: str, name: str) -> None:
    """Mark the real directory as this resource's. ConfigError when it is another's."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        os.mkdir(OWN_FOLDER, 0o700, dir_fd=root_fd)
    folder = os.open(OWN_FOLDER, flags, dir_fd=root_fd)
    try:
        _claim_folder(folder, directory, {"module": module, "name": name})
    finally:
        os.close(folder)


def _claim_folder(folder: int, directory: Path, owner: dict[str, str]) -> None:
    found = _read_owner(folder)
    if found is None:
        part = os.open(
            OWNER, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            os.write(part, json.dumps(owner).encode())
            os.fsync(part)
        finally:
            os.close(part)
    elif found != owner:
        what, hint = _another(directory, found)
        raise ConfigError(what, hint=hint)


def _another(directory: Path, owner: dict[str, str]) -> tuple[str, str]:
    return (
        f"{directory} is replicated by the module '{owner.get('module')}' (rfs '{owner.get('name')}')",
        f"give another directory; if that module is gone for good, remove {directory / OWN_FOLDER}",
    )


def claimed(directory: Path, module: str, name: str) -> Iterator[str]:
    """The finding that it is another resource's."""
    with contextlib.suppress(OSError):
        folder = os.open(directory / OWN_FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = _read_owner(folder)
        finally:
            os.close(folder)
        if found not in (None, {"module": module, "name": name}):
            yield "; ".join(_another(directory, found))


def _read_owner(folder: int) -> dict[str, str] | None:
    """None when there is none, or a torn one."""
    try:
        descriptor = os.open(OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(os.read(descriptor, MAX_OWNER_BYTES) or b"null")
    except ValueError:
        return None
    finally:
        os.close(descriptor)
    return found if isinstance(found, dict) else None
