"""Keeps what a split brain's loser had, on the disk, before it is replaced for the first time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from safekit_resource_rfs import descent, local, syscalls
from safekit_resource_rfs.beneath import Beneath
from safekit_resource_rfs.changes import (
    Allocate,
    Bind,
    Change,
    MakeFile,
    Remove,
    RemoveXattr,
    Rename,
    Resize,
    SetXattr,
    Unbind,
    Write,
)
from safekit_resource_rfs.content import leaves_content
from safekit_resource_rfs.descent import FOLDER, Folders, descend

_ASIDE: Final = local.RESERVED + b"/aside/"
_PARTS: Final = local.RESERVED + b"/part"
_PART: Final = b"copy"
_MODE: Final = 0o700
_DATA: Final = (b"user.", b"trusted.")
"""Extended attributes that are data, and no permissions."""
Slots = Mapping[int, int]
"""Descriptors by slot."""
_Place = tuple[int, bytes]


class Aside:
    """Below `.safekit-rfs/aside/<label>/`, each version under the path that it had. What is there already stays: it is
    older. What is moved or copied is on the disk before `keep` returns. Mode, owner, times and holes that change alone
    keep nothing, and what is only opened does not either."""

    def __init__(self, root_fd: int, label: str) -> None:
        self._root_fd = root_fd
        self._set = _ASIDE + os.fsencode(label)
        self._paths: dict[int, bytes] = {}
        """Of what is not kept yet, by slot."""
        self._is_old_synced = False
        self._left: tuple[int, os.stat_result] | None = None
        """A file whose content the change leaves, and so its times, which a later version to keep has."""

    def keep(self, beneath: Beneath, change: Change, slots: Slots) -> bool:
        """Whether the change is done thereby. OSError when it cannot be kept: the change must not be applied then."""
        self._left = None
        if isinstance(change, Remove):
            return self._move(beneath, change.path)
        if isinstance(change, Bind | MakeFile):
            self._paths.pop(change.slot, None)
        elif isinstance(change, Rename):
            self._keep_renamed(beneath, change)
        elif isinstance(change, SetXattr | RemoveXattr) and change.name.startswith(_DATA):
            self._copy_alone(beneath, change.path)
        elif isinstance(change, Write | Resize | Allocate) and change.slot in self._paths:
            self._keep_slot(change, slots[change.slot])
        return False

    def applied(self, change: Change) -> None:
        if self._left is not None:
            fd, before = self._left
            if os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
                syscalls.set_times(fd, b"", before.st_atime_ns, before.st_mtime_ns)
        if isinstance(change, Bind):
            self._paths[change.slot] = change.path
        elif isinstance(change, Unbind):
            self._paths.pop(change.slot, None)

    def forget_slots(self) -> None:
        self._paths.clear()

    def holds(self, fd: int) -> bool:
        """Whether this open file was moved aside: nothing may be written to it any more."""
        place = Path(f"/proc/self/fd/{self._root_fd}").readlink() / os.fsdecode(self._set)
        return Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(place)

    def _keep_renamed(self, beneath: Beneath, change: Rename) -> None:
        """Under the new name it would not be kept if an older version has that place."""
        old, new = _status(beneath.name(change.old)), _status(beneath.name(change.new))
        if old is None or (new is not None and os.path.samestat(old, new)):
            return
        self._copy(beneath, change.old)
        if change.flags & syscalls.RENAME_EXCHANGE:
            self._copy(beneath, change.new)
        elif not change.flags:
            self._move(beneath, change.new)

    def _keep_slot(self, change: Write | Resize | Allocate, fd: int) -> None:
        if leaves_content(change, fd) and local.CAPABILITY not in local.list_xattrs(fd, b""):
            self._left = fd, os.fstat(fd)
            return
        path = self._paths[change.slot]
        with self._directory(path) as target_fd:
            if target_fd >= 0:
                self._copy_file((fd, b""), fd, (target_fd, path.rpartition(b"/")[2]))
        del self._paths[change.slot]

    def _move(self, beneath: Beneath, path: bytes) -> bool:
        """With all that is in it. Whether something was there."""
        source = beneath.name(path)
        found = _status(source)
        if found is None:
            return False
        beneath.forget(path)
        with self._directory(path) as target_fd:
            if target_fd < 0:
                descent.remove(*source)
            elif not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:  # its other names stay
                self._copy_any(source, target_fd)
                os.unlink(source[1], dir_fd=source[0])
            elif not _move_all(source, target_fd):
                self._sync_all()
        return True

    def _copy(self, beneath: Beneath, path: bytes) -> None:
        """With all that is in it."""
        source = beneath.name(path)
        if _status(source) is None:
            return
        with self._directory(path) as target_fd:
            if target_fd < 0:
                return
            self._copy_any(source, target_fd)
            if _is_directory(*source):
                self._sync_all()

    def _copy_alone(self, beneath: Beneath, path: bytes) -> None:
        """Of a directory only itself."""
        if not path or _status(source := beneath.name(path)) is None:
            return
        with self._directory(path) as target_fd:
            if target_fd < 0:
                return
            if not _is_directory(*source):
                self._copy_any(source, target_fd)
            elif _status((target_fd, source[1])) is None:
                _make_directory(target_fd, source[1])
                local.copy_attributes(source, (target_fd, source[1]))
                self._sync_all()

    def _copy_any(self, source: _Place, target_fd: int) -> None:
        descend((source[0], target_fd), source[1], self._copy_one, _end_copy)

    def _copy_one(self, folders: Folders, name: bytes) -> bool:
        """Of a directory only itself. Whether what is in it can be copied too."""
        directory_fd, target_fd = folders
        mode = local.status(directory_fd, name).st_mode
        if stat.S_ISDIR(mode):
            _make_directory(target_fd, name)
            return _is_directory(target_fd, name)
        if stat.S_ISREG(mode):
            file_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC, dir_fd=directory_fd)
            with _closing(file_fd):
                self._copy_file((directory_fd, name), file_fd, (target_fd, name))
        else:
            with suppress(FileExistsError):
                os.link(name, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd, follow_symlinks=False)
                os.fsync(target_fd)
        return False

    def _copy_file(self, source: _Place, file_fd: int, target: _Place) -> None:
        """It has its name when all of it is on the disk: what a power cut leaves is whole."""
        if _status(target) is not None:
            return
        with _closing(self._open_folder(_PARTS)) as parts_fd:
            part = (parts_fd, _PART)
            with suppress(FileNotFoundError):
                os.unlink(_PART, dir_fd=parts_fd)
            copy_fd = local.make_file(*part, 0o600)
            try:
                local.copy_data(file_fd, copy_fd)
                local.copy_attributes(source, part)
                os.fsync(copy_fd)
                syscalls.rename(*part, *target, syscalls.RENAME_NOREPLACE)
            except OSError:
                os.unlink(_PART, dir_fd=parts_fd)
                raise
            finally:
                os.close(copy_fd)
        os.fsync(target[0])

    @contextmanager
    def _directory(self, path: bytes) -> Iterator[int]:
        """Where the version of this path belongs; -1: something older has a place above it, and all that is beneath it
        now came from the winner, or was kept when it was renamed."""
        if not self._is_old_synced:  # what is moved aside is as safe as it would be where it is
            self._sync_all()
            self._is_old_synced = True
        try:
            fd = self._open_folder(self._set + b"/" + path.rpartition(b"/")[0])
        except NotADirectoryError:
            yield -1
            return
        with _closing(fd):
            yield fd

    def _open_folder(self, path: bytes) -> int:
        """Made where it is not there."""
        fd = os.dup(self._root_fd)
        for name in path.strip(b"/").split(b"/"):
            with _closing(fd):
                _make_directory(fd, name)
                fd = os.open(name, FOLDER, dir_fd=fd)
        return fd

    def _sync_all(self) -> None:
        syscalls.sync_filesystem(self._root_fd)


def _move_all(source: _Place, target_fd: int) -> bool:
    """With all that is in it, but for what is kept already. Whether it is on the disk."""
    directory_fd, name = source
    if not _move_one((directory_fd, target_fd), name):
        return True
    descend((directory_fd, target_fd), name, _move_one, _end_move)
    return False


def _move_one(folders: Folders, name: bytes) -> bool:
    """False: it is done. True: an older version of the directory is kept, of which some may be missing."""
    directory_fd, target_fd = folders
    try:
        syscalls.rename(directory_fd, name, target_fd, name, syscalls.RENAME_NOREPLACE)
    except FileExistsError:
        if _is_directory(directory_fd, name) and _is_directory(target_fd, name):
            return True
        descent.remove(directory_fd, name)
    else:
        os.fsync(target_fd)
    return False


def _end_move(folders: Folders, name: bytes) -> None:
    os.rmdir(name, dir_fd=folders[0])


def _end_copy(folders: Folders, name: bytes) -> None:
    local.copy_attributes((folders[0], name), (folders[1], name))


def _make_directory(directory_fd: int, name: bytes) -> None:
    """If it is not there yet."""
    with suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=directory_fd)
        os.fsync(directory_fd)


def _status(place: _Place) -> os.stat_result | None:
    """None: nothing is there."""
    try:
        return local.status(*place)
    except FileNotFoundError:
        return None


def _is_directory(directory_fd: int, name: bytes) -> bool:
    return stat.S_ISDIR(local.status(directory_fd, name).st_mode)


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
