"""Apply changes to a real directory: the secondary's side."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from safekit_resource_rfs import beneath, descent, local, syscalls
from safekit_resource_rfs.aside import Aside
from safekit_resource_rfs.beneath import Beneath
from safekit_resource_rfs.changes import (
    RESYNC_SLOTS,
    SLOTS,
    Allocate,
    Bind,
    Change,
    MakeDirectory,
    MakeFile,
    MakeLink,
    MakeNode,
    MakeSymlink,
    Remove,
    RemoveXattr,
    Rename,
    Resize,
    SetAttributes,
    SetXattr,
    Sync,
    SyncDirectory,
    Unbind,
    Write,
)
from safekit_resource_rfs.content import leaves_content
from safekit_resource_rfs.descent import FOLDER
from safekit_resource_rfs.exclusion import NOTHING, Exclusion
from safekit_resource_rfs.survey import Survey

__all__ = ["Aside", "Replica"]

_PERMISSIONS: Final = 0o777
_ZEROS: Final = bytes(1 << 20)
_UNCHANGEABLE: Final = (errno.EPERM, errno.EBADF, errno.EINVAL)
"""Of a file that could be opened for reading only: EINVAL is ftruncate's."""
_NOT_EMPTY: Final = (errno.ENOTEMPTY, errno.EEXIST)
_SPECIAL: Final = frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})


class Replica(Survey):
    """All methods raise OSError: EINVAL for what no primary would send. `apply` and `to_sync` are for one thread."""

    def __init__(self, root_fd: int, aside: Aside | None = None, exclusion: Exclusion = NOTHING) -> None:
        super().__init__(root_fd, exclusion)
        self._aside = aside
        self._beneath = Beneath(root_fd)
        self._slots: dict[int, int] = {}
        """Descriptors by slot."""
        self._appliers: dict[type[Any], Callable[[Any], None]] = {
            Bind: self._bind,
            Unbind: self._unbind,
            Write: partial(self._change_data, self._write),
            Resize: partial(self._change_data, self._resize),
            Allocate: partial(self._change_data, self._allocate),
            MakeFile: self._make_file,
            MakeDirectory: self._make_directory,
            MakeNode: self._make_node,
            MakeSymlink: self._make_symlink,
            MakeLink: self._make_link,
            Remove: self._remove,
            Rename: self._rename,
            SetAttributes: self._set_attributes,
            SetXattr: self._set_xattr,
            RemoveXattr: self._remove_xattr,
        }

    def apply(self, change: Change, *, keep_aside: bool = False) -> None:
        """Not for Sync and SyncDirectory. With `keep_aside` what it replaces is kept first."""
        if not (keep_aside and self._aside):
            self._appliers[type(change)](change)
            return
        is_done = self._aside.keep(self._beneath, change, self._slots)
        if isinstance(change, Remove | Rename):
            self._let_go(self._aside)
        if not is_done:
            self._appliers[type(change)](change)
            self._aside.applied(change)

    def _let_go(self, aside: Aside) -> None:
        """What was moved aside is not written to through a slot that means it."""
        for slot in [slot for slot, fd in self._slots.items() if aside.holds(fd)]:
            self._unbind(Unbind(slot))
            aside.applied(Unbind(slot))

    def to_sync(self, change: Sync | SyncDirectory) -> int:
        """A descriptor of what is to be on the disk, as it is at the change's position. The caller closes it."""
        if isinstance(change, Sync):
            return os.dup(self._file(change.slot))
        beneath.components(change.path)
        return syscalls.open_beneath(self._root_fd, change.path, os.O_RDONLY | os.O_DIRECTORY)

    @property
    def slots(self) -> dict[int, int]:
        """Descriptors of the files that slots mean."""
        return dict(self._slots)

    def adopt_slots(self, slots: dict[int, int]) -> None:
        self._slots = dict(slots)

    def forget_slots(self) -> None:
        """Close all files: the connection is new."""
        for fd in self._slots.values():
            os.close(fd)
        self._slots.clear()
        if self._aside:
            self._aside.forget_slots()

    def close(self) -> None:
        self.forget_slots()
        self._beneath.close()

    # Data

    def _file(self, slot: int) -> int:
        fd = self._slots.get(slot)
        if fd is None:
            raise OSError(errno.EBADF, f"slot {slot} means no file")
        return fd

    def _hold(self, slot: int, fd: int) -> None:
        if not 0 < slot < SLOTS + RESYNC_SLOTS:
            os.close(fd)
            raise OSError(errno.EINVAL, f"slot {slot} is out of range")
        self._slots[slot] = fd

    def _bind(self, change: Bind) -> None:
        self._release(change.slot)
        flags = os.O_RDWR | os.O_NOATIME
        try:
            fd = beneath.open_regular(self._root_fd, change.path, flags)
        except PermissionError:  # immutable
            fd = beneath.open_regular(self._root_fd, change.path, flags & ~os.O_RDWR)
        self._hold(change.slot, fd)

    def _unbind(self, change: Unbind) -> None:
        self._release(change.slot)

    def _release(self, slot: int) -> None:
        """Also before it is bound again: when that fails, it must not mean the file that it meant."""
        fd = self._slots.pop(slot, None)
        if fd is not None:
            os.close(fd)

    def _change_data(self, apply: Callable[[Any], None], change: Write | Resize | Allocate) -> None:
        """An immutable file keeps its holes: it is as good where whoever reads it finds the same."""
        try:
            apply(change)
        except OSError as error:
            fd = self._slots.get(change.slot)
            if error.errno not in _UNCHANGEABLE or fd is None or not leaves_content(change, fd):
                raise

    def _write(self, change: Write) -> None:
        fd, position = self._file(change.slot), change.offset
        data = memoryview(change.data)
        while data:
            written = os.pwrite(fd, data, position)
            position += written
            data = data[written:]

    def _resize(self, change: Resize) -> None:
        os.ftruncate(self._file(change.slot), change.size)

    def _allocate(self, change: Allocate) -> None:
        fd = self._file(change.slot)
        try:
            local.allocate(fd, change.mode, change.offset, change.length)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or change.mode != local.PUNCH:
                raise
            _write_zeros(fd, change.offset, min(change.offset + change.length, os.fstat(fd).st_size))

    # Names

    def _make_file(self, change: MakeFile) -> None:
        self._release(change.slot)
        directory_fd, name = self._beneath.name(change.path)
        fd = local.make_file(directory_fd, name, change.mode & _PERMISSIONS)
        self._hold(change.slot, fd)
        _own((directory_fd, name), change)

    def _make_directory(self, change: MakeDirectory) -> None:
        directory_fd, name = self._beneath.name(change.path)
        os.mkdir(name, change.mode & _PERMISSIONS, dir_fd=directory_fd)
        _own((directory_fd, name), change)

    def _make_node(self, change: MakeNode) -> None:
        directory_fd, name = self._beneath.name(change.path)
        if stat.S_IFMT(change.mode) not in _SPECIAL:
            raise OSError(errno.EINVAL, "not the mode of a special file", change.path)
        os.mknod(name, change.mode & ~0o7000, change.device, dir_fd=directory_fd)
        _own((directory_fd, name), change)

    def _make_symlink(self, change: MakeSymlink) -> None:
        directory_fd, name = self._beneath.name(change.path)
        os.symlink(change.target, name, dir_fd=directory_fd)
        local.set_owner(directory_fd, name, change.uid, change.gid)

    def _make_link(self, change: MakeLink) -> None:
        old_fd, old = self._beneath.name(change.existing)
        new_fd, new = self._beneath.name(change.path)
        os.link(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd, follow_symlinks=False)

    def _remove(self, change: Remove) -> None:
        directory_fd, name = self._beneath.name(change.path)
        if not change.is_directory:
            os.unlink(name, dir_fd=directory_fd)
            return
        self._beneath.forget(change.path)
        try:
            os.rmdir(name, dir_fd=directory_fd)
        except OSError as error:
            if error.errno not in _NOT_EMPTY or not self._clear_excluded(directory_fd, change.path):
                raise
            os.rmdir(name, dir_fd=directory_fd)

    def _rename(self, change: Rename) -> None:
        old, new = self._beneath.name(change.old), self._beneath.name(change.new)
        try:
            syscalls.rename(*old, *new, change.flags)
        except OSError as error:
            if change.flags or error.errno not in _NOT_EMPTY or not self._clear_excluded(new[0], change.new):
                raise
            syscalls.rename(*old, *new, change.flags)
        self._beneath.forget(change.old)
        self._beneath.forget(change.new)

    def _clear_excluded(self, parent_fd: int, path: bytes) -> bool:
        """What only this node has in a directory, as it is excluded, does not keep the directory. Whether there was
        nothing else; if there was, all of it stays."""
        if not self._exclusion:
            return False
        fd = os.open(path.rpartition(b"/")[2], FOLDER, dir_fd=parent_fd)
        try:
            names = descent.names_in(fd)
            if not all(self._exclusion.holds(path + b"/" + name) for name in names):
                return False
            for name in names:
                descent.remove(fd, name)
        finally:
            os.close(fd)
        return True

    # Attributes

    def _set_attributes(self, change: SetAttributes) -> None:
        place = self._beneath.place(change.path)
        try:
            self._set(place, change)
        except PermissionError:  # immutable
            if not _has(place, change):
                raise

    @staticmethod
    def _set(place: tuple[int, bytes], change: SetAttributes) -> None:
        if change.uid is not None or change.gid is not None:
            owner = (-1 if change.uid is None else change.uid, -1 if change.gid is None else change.gid)
            local.set_owner(*place, *owner)
        if change.mode is not None:
            local.set_mode(*place, stat.S_IMODE(change.mode))
        if change.atime_ns is not None or change.mtime_ns is not None:
            syscalls.set_times(*place, change.atime_ns, change.mtime_ns)

    def _set_xattr(self, change: SetXattr) -> None:
        local.set_xattr(*self._beneath.place(change.path), change.name, change.value)

    def _remove_xattr(self, change: RemoveXattr) -> None:
        local.remove_xattr(*self._beneath.place(change.path), change.name)


def _has(place: tuple[int, bytes], change: SetAttributes) -> bool:
    """All of it, but for the time of access."""
    found = local.status(*place)
    pairs = (
        (change.uid, found.st_uid),
        (change.gid, found.st_gid),
        (change.mode, stat.S_IMODE(found.st_mode)),
        (change.mtime_ns, found.st_mtime_ns),
    )
    return all(wanted is None or wanted == there for wanted, there in pairs)


def _own(place: tuple[int, bytes], change: MakeFile | MakeDirectory | MakeNode) -> None:
    """Exactly this owner and mode, whatever the umask and the directory's group are."""
    mode = stat.S_IMODE(change.mode)
    found = local.own(*place, mode, change.uid, change.gid)
    if stat.S_IMODE(found.st_mode) != mode:
        local.set_mode(*place, mode)


def _write_zeros(fd: int, position: int, end: int) -> None:
    """A hole, for a file system that cannot make one."""
    while position < end:
        position += os.pwrite(fd, _ZEROS[: end - position], position)
