"""Keeps what a split brain's loser had, before it is replaced for the first time."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from safekit_resource_rfs import local, syscalls
from safekit_resource_rfs.beneath import Beneath
from safekit_resource_rfs.changes import Bind, Change, Remove, Rename

_FOLDER: Final = b"aside"
_MODE: Final = 0o700


class Aside:
    """Below `.safekit-rfs/aside/<label>/`, each version under the path that it had. What is there already stays: it is
    older. Attributes that change alone keep nothing."""

    def __init__(self, root_fd: int, label: str) -> None:
        self._root_fd = root_fd
        self._set = b"/".join((local.RESERVED, _FOLDER, os.fsencode(label)))

    def keep(self, beneath: Beneath, change: Change) -> bool:
        """Whether the change is done thereby. OSError when it cannot be kept: the change must not be applied then."""
        if isinstance(change, Bind):
            self._keep(beneath, change.path, is_replaced=False)
        elif isinstance(change, Remove):
            return self._keep(beneath, change.path, is_replaced=True, moves=change.is_directory)
        elif isinstance(change, Rename):
            # under the new name it would not be kept if an older version has that place
            self._keep(beneath, change.old, is_replaced=False)
            self._keep(beneath, change.new, is_replaced=not change.flags)
        return False

    def _keep(self, beneath: Beneath, path: bytes, *, is_replaced: bool, moves: bool = False) -> bool:
        """What is replaced need not be copied; a directory that `moves` goes with all that is in it."""
        directory_fd, name = beneath.name(path)
        try:
            found = local.status(directory_fd, name)
        except FileNotFoundError:
            return False
        target_fd = self._open_directory(path.rpartition(b"/")[0])
        try:
            if moves and stat.S_ISDIR(found.st_mode):
                beneath.forget(path)
                _move((directory_fd, name), target_fd)
                return True
            if is_replaced:
                with suppress(FileExistsError):
                    _take((directory_fd, name), found, target_fd)
            else:
                _copy((directory_fd, name), target_fd)
        finally:
            os.close(target_fd)
        return False

    def _open_directory(self, path: bytes) -> int:
        fd = os.dup(self._root_fd)
        for name in (self._set + b"/" + path).strip(b"/").split(b"/"):
            with suppress(FileExistsError):
                os.mkdir(name, _MODE, dir_fd=fd)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
        return fd


def _take(source: tuple[int, bytes], found: os.stat_result, target_fd: int) -> None:
    """What is about to lose its name here; a directory is empty then."""
    directory_fd, name = source
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(name, _MODE, dir_fd=target_fd)
        local.copy_attributes(source, (target_fd, name))
    elif stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        _copy_file(source, target_fd)
    else:
        os.link(name, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd, follow_symlinks=False)


def _move(source: tuple[int, bytes], target_fd: int) -> None:
    """With all that is in it, but for what is kept already."""
    directory_fd, name = source
    try:
        syscalls.rename(directory_fd, name, target_fd, name, syscalls.RENAME_NOREPLACE)
        return
    except FileExistsError:
        if not _is_directory(*source):
            os.unlink(name, dir_fd=directory_fd)
            return
    with _opened(directory_fd, name) as below_fd:
        if _is_directory(target_fd, name):
            with _opened(target_fd, name) as target_below_fd:
                for entry in _names(below_fd):
                    _move((below_fd, entry), target_below_fd)
            os.rmdir(name, dir_fd=directory_fd)
        else:
            shutil.rmtree(name, dir_fd=directory_fd)


def _copy(source: tuple[int, bytes], target_fd: int) -> None:
    """With all that is in it, but for what is kept already."""
    directory_fd, name = source
    mode = local.status(*source).st_mode
    with suppress(FileExistsError):
        if stat.S_ISREG(mode):
            _copy_file(source, target_fd)
        elif not stat.S_ISDIR(mode):
            os.link(name, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    if not stat.S_ISDIR(mode):
        return
    with suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=target_fd)
    if not _is_directory(target_fd, name):
        return
    with _opened(directory_fd, name) as below_fd, _opened(target_fd, name) as target_below_fd:
        for entry in _names(below_fd):
            _copy((below_fd, entry), target_below_fd)
    local.copy_attributes(source, (target_fd, name))


def _is_directory(directory_fd: int, name: bytes) -> bool:
    return stat.S_ISDIR(local.status(directory_fd, name).st_mode)


def _names(directory_fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(directory_fd)]


@contextmanager
def _opened(directory_fd: int, name: bytes) -> Iterator[int]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _copy_file(source: tuple[int, bytes], target_fd: int) -> None:
    directory_fd, name = source
    source_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        copy_fd = local.make_file(target_fd, name, 0o600)
        try:
            local.copy_data(source_fd, copy_fd)
            local.copy_attributes(source, (target_fd, name))
        except OSError:
            os.unlink(name, dir_fd=target_fd)
            raise
        finally:
            os.close(copy_fd)
    finally:
        os.close(source_fd)
