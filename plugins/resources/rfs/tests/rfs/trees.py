"""Whole directories, compared: names, content, holes, attributes, links."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from safekit_resource_rfs.extents import holes

OWN = ".safekit-rfs"


def seen(root: Path, *, with_holes: bool = True) -> dict[str, tuple[object, ...]]:
    """Everything that is replicated, by path."""
    found: dict[str, tuple[object, ...]] = {}
    groups: dict[int, str] = {}
    for folder, names, files in os.walk(root):
        if Path(folder) == root and OWN in names:
            names.remove(OWN)
        for name in sorted([*names, *files]):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            found[relative] = _about(path, groups, relative, with_holes=with_holes)
    return found


def _about(path: Path, groups: dict[int, str], relative: str, *, with_holes: bool) -> tuple[object, ...]:
    about = path.lstat()
    first = groups.setdefault(about.st_ino, relative) if about.st_nlink > 1 and not path.is_dir() else ""
    content: object = ""
    if stat.S_ISREG(about.st_mode):
        with path.open("rb") as file:
            spans = tuple(holes(file.fileno(), 0, about.st_size)) if with_holes else ()
        content = hashlib.blake2b(path.read_bytes()).hexdigest(), about.st_size, spans
    elif stat.S_ISLNK(about.st_mode):
        content = str(path.readlink())
    xattrs = sorted(
        (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
    )
    return (about.st_mode, about.st_uid, about.st_gid, about.st_mtime_ns, about.st_rdev, first, content, tuple(xattrs))


def differences(one: Path, two: Path, *, with_holes: bool = True) -> list[str]:
    here, there = seen(one, with_holes=with_holes), seen(two, with_holes=with_holes)
    return [
        f"{path}: {here.get(path)} and {there.get(path)}"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]
