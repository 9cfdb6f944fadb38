"""Keeps what a split brain's loser had, before it is replaced for the first time."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

from safekit_resource_rfs import local
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

    def keep(self, beneath: Beneath, change: Change) -> None:
        """OSError when it cannot be kept: the change must not be applied then."""
        if isinstance(change, Bind):
            self._keep(beneath, change.path, is_replaced=False)
        elif isinstance(change, Remove):
            self._keep(beneath, change.path, is_replaced=True)
        elif isinstance(change, Rename) and not change.flags:
            self._keep(beneath, change.new, is_replaced=True)

    def _keep(self, beneath: Beneath, path: bytes, *, is_replaced: bool) -> None:
        """What is replaced need not be copied."""
        directory_fd, name = beneath.name(path)
        try:
            found = local.status(directory_fd, name)
        except FileNotFoundError:
            return
        target_fd = self._open_directory(path.rpartition(b"/")[0])
        try:
            with suppress(FileExistsError):
                self._take((directory_fd, name), found, target_fd, is_replaced=is_replaced)
        finally:
            os.close(target_fd)

    def _open_directory(self, path: bytes) -> int:
        fd = os.dup(self._root_fd)
        for name in (self._set + b"/" + path).strip(b"/").split(b"/"):
            with suppress(FileExistsError):
                os.mkdir(name, _MODE, dir_fd=fd)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
        return fd

    @staticmethod
    def _take(source: tuple[int, bytes], found: os.stat_result, target_fd: int, *, is_replaced: bool) -> None:
        directory_fd, name = source
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, _MODE, dir_fd=target_fd)
            local.copy_attributes(source, (target_fd, name))
        elif stat.S_ISREG(found.st_mode) and not (is_replaced and found.st_nlink == 1):
            _copy_file(source, target_fd)
        else:
            os.link(name, name, src_dir_fd=directory_fd, dst_dir_fd=target_fd, follow_symlinks=False)


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
