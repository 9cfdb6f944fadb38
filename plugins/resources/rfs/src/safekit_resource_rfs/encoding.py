"""Changes as bytes. The numbers of their kinds are part of the protocol: none is ever used for something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from safekit_resource_rfs import changes
from safekit_resource_rfs.changes import MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_XATTR_BYTES, Change
from safekit_resource_rfs.fields import MAX_OFFSET, Reader, Writer, refuse

MAX_RENAME_FLAGS: Final = 2
"""Exchange. No replace is 1."""
_ATTRIBUTES: Final = ("mode", "uid", "gid", "atime_ns", "mtime_ns")
_MODE: Final = 0o7777
_TYPES: Final = frozenset((0o010000, 0o020000, 0o060000, 0o140000))
"""Of a MakeNode: fifo, character device, block device, socket."""


def _range(read: Reader) -> tuple[int, int]:
    offset, length = read.offset(), read.offset()
    return (offset, length) if length and offset + length <= MAX_OFFSET else refuse("not a range of a file")


def _mode(read: Reader) -> int:
    value = read.u32()
    return value if value <= _MODE else refuse(f"{value:o} are not permissions")


def _read_bind(read: Reader) -> Change:
    return changes.Bind(read.slot(), read.path_inside())


def _read_unbind(read: Reader) -> Change:
    return changes.Unbind(read.slot())


def _read_write(read: Reader) -> Change:
    slot, offset, data = read.slot(), read.offset(), read.rest()
    if not is_written(offset, len(data)):
        refuse("a write of no bytes, or of too many")
    return changes.Write(slot, offset, data)


def is_written(offset: int, count: int) -> bool:
    """Whether a Write may say that so many bytes are written there."""
    return 0 < count <= changes.MAX_DATA_BYTES and offset + count <= MAX_OFFSET


def _read_resize(read: Reader) -> Change:
    return changes.Resize(read.slot(), read.offset())


def _read_allocate(read: Reader) -> Change:
    slot, mode = read.slot(), read.u32()
    return changes.Allocate(slot, mode, *_range(read))


def _read_sync(read: Reader) -> Change:
    return changes.Sync(read.slot(), read.flag())


def _read_sync_directory(read: Reader) -> Change:
    return changes.SyncDirectory(read.path())


def _read_make_file(read: Reader) -> Change:
    return changes.MakeFile(read.path_inside(), read.slot(), _mode(read), read.u32(), read.u32())


def _read_make_directory(read: Reader) -> Change:
    return changes.MakeDirectory(read.path_inside(), _mode(read), read.u32(), read.u32())


def _read_make_node(read: Reader) -> Change:
    path, mode = read.path_inside(), read.u32()
    if mode & ~_MODE not in _TYPES:
        refuse(f"{mode:o} is not a special file")
    return changes.MakeNode(path, mode, read.u64(), read.u32(), read.u32())


def _read_make_symlink(read: Reader) -> Change:
    return changes.MakeSymlink(read.path_inside(), read.without_nul(MAX_PATH_BYTES), read.u32(), read.u32())


def _read_make_link(read: Reader) -> Change:
    return changes.MakeLink(read.path_inside(), read.path_inside())


def _read_remove(read: Reader) -> Change:
    return changes.Remove(read.path_inside(), read.flag())


def _read_rename(read: Reader) -> Change:
    old, new, flags = read.path_inside(), read.path_inside(), read.u32()
    return changes.Rename(old, new, flags) if flags <= MAX_RENAME_FLAGS else refuse(f"{flags} are not rename flags")


def _read_set_attributes(read: Reader) -> Change:
    path, present = read.path(), read.u8()
    if present >= 1 << len(_ATTRIBUTES):
        refuse(f"{present} is not a set of attributes")
    values = {name: read.i64() for bit, name in enumerate(_ATTRIBUTES) if present >> bit & 1}
    if not 0 <= values.get("mode", 0) <= _MODE:
        refuse("not permissions")
    if any(not 0 <= values.get(name, 0) < 1 << 32 for name in ("uid", "gid")):
        refuse("not the number of a user or group")
    return changes.SetAttributes(path, **values)


def _read_set_xattr(read: Reader) -> Change:
    return changes.SetXattr(read.path(), read.without_nul(MAX_NAME_BYTES), read.blob(MAX_XATTR_BYTES))


def _read_remove_xattr(read: Reader) -> Change:
    return changes.RemoveXattr(read.path(), read.without_nul(MAX_NAME_BYTES))


_READERS: Final[dict[int, Callable[[Reader], Change]]] = {
    1: _read_bind,
    2: _read_unbind,
    3: _read_write,
    4: _read_resize,
    5: _read_allocate,
    6: _read_sync,
    7: _read_sync_directory,
    8: _read_make_file,
    9: _read_make_directory,
    10: _read_make_node,
    11: _read_make_symlink,
    12: _read_make_link,
    13: _read_remove,
    14: _read_rename,
    15: _read_set_attributes,
    16: _read_set_xattr,
    17: _read_remove_xattr,
}
WRITE: Final = 3

_LAYOUTS: Final[dict[type, tuple[int, str]]] = {
    changes.Bind: (1, "slot:u32 path:blob"),
    changes.Unbind: (2, "slot:u32"),
    changes.Resize: (4, "slot:u32 size:u64"),
    changes.Allocate: (5, "slot:u32 mode:u32 offset:u64 length:u64"),
    changes.Sync: (6, "slot:u32 data_only:u8"),
    changes.SyncDirectory: (7, "path:blob"),
    changes.MakeFile: (8, "path:blob slot:u32 mode:u32 uid:u32 gid:u32"),
    changes.MakeDirectory: (9, "path:blob mode:u32 uid:u32 gid:u32"),
    changes.MakeNode: (10, "path:blob mode:u32 device:u64 uid:u32 gid:u32"),
    changes.MakeSymlink: (11, "path:blob target:blob uid:u32 gid:u32"),
    changes.MakeLink: (12, "path:blob existing:blob"),
    changes.Remove: (13, "path:blob is_directory:u8"),
    changes.Rename: (14, "old:blob new:blob flags:u32"),
    changes.SetXattr: (16, "path:blob name:blob value:blob"),
    changes.RemoveXattr: (17, "path:blob name:blob"),
}
_STEPS: Final = {
    kind: (number, tuple(tuple(field.split(":")) for field in layout.split()))
    for kind, (number, layout) in _LAYOUTS.items()
}


def read_change(read: Reader) -> Change:
    kind = read.u8()
    reader = _READERS.get(kind)
    if reader is None:
        refuse(f"{kind} is not a kind of change")
    change = reader(read)
    read.end()
    return change


def write_change(write: Writer, change: Change) -> None:
    """Not of a Write, whose data are not copied."""
    if isinstance(change, changes.SetAttributes):
        _write_attributes(write, change)
        return
    number, steps = _STEPS[type(change)]
    write.u8(number)
    for name, method in steps:
        value: Any = getattr(change, name)
        getattr(write, method)(value)


def _write_attributes(write: Writer, change: changes.SetAttributes) -> None:
    values = [cast("int | None", getattr(change, name)) for name in _ATTRIBUTES]
    write.u8(15)
    write.blob(change.path)
    write.u8(sum(1 << bit for bit, value in enumerate(values) if value is not None))
    for value in values:
        if value is not None:
            write.i64(value)
