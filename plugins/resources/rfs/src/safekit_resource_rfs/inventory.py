"""What a directory holds, as far as a look of a few seconds says."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MAX_ENTRIES: Final = 500_000
MAX_OWNERS: Final = 8
"""Named in a sentence; there may be more."""
SECTOR_BYTES: Final = 512
NOT_CONTENT: Final = "lost+found"
"""In the root of a file system."""


@dataclass(slots=True)
class Inventory:
    entries: int = 0
    size_bytes: int = 0
    """On the disk."""
    is_whole: bool = True
    """Everything was looked at."""
    users: set[int] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    replicated: list[Path] = field(default_factory=list)
    """Directories in it with the folder that a replicated one has."""


def look(directory: Path, own_folder: str, limit_s: float) -> Inventory:
    """Of one file system; what cannot be read is left out. OSError when the directory itself cannot be."""
    end_s, found = time.monotonic() + limit_s, Inventory()
    device = _count(found, os.lstat(directory))
    left = [directory]
    while left:
        here = left.pop()
        with contextlib.suppress(OSError):
            for entry in _entries(here, must_work=here is directory):
                if found.entries >= MAX_ENTRIES or time.monotonic() > end_s:
                    found.is_whole = False
                    return found
                _meet(found, entry, directory, own_folder, left, device)
    return found


def _entries(directory: Path, *, must_work: bool) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except OSError:
        if must_work:
            raise


def _meet(
    found: Inventory, entry: os.DirEntry[str], root: Path, own_folder: str, left: list[Path], device: int
) -> None:
    try:
        seen = entry.stat(follow_symlinks=False)
    except OSError:
        return
    if entry.name == own_folder and stat.S_ISDIR(seen.st_mode):
        place = Path(entry.path).parent
        if place != root:
            found.replicated.append(place)
        return
    if entry.name == NOT_CONTENT and Path(entry.path).parent == root:
        return
    found.entries += 1
    _count(found, seen)
    if stat.S_ISDIR(seen.st_mode) and seen.st_dev == device:
        left.append(Path(entry.path))


def _count(found: Inventory, seen: os.stat_result) -> int:
    found.size_bytes += seen.st_blocks * SECTOR_BYTES
    found.users.add(seen.st_uid)
    found.groups.add(seen.st_gid)
    return seen.st_dev


def user_names(numbers: Iterable[int]) -> list[str]:
    return _named(numbers, lambda number: pwd.getpwuid(number).pw_name)


def group_names(numbers: Iterable[int]) -> list[str]:
    return _named(numbers, lambda number: grp.getgrgid(number).gr_name)


def all_users() -> dict[str, int]:
    """Those that this node lists, which may leave out some of a directory service."""
    return {one.pw_name: one.pw_uid for one in pwd.getpwall()}


def all_groups() -> dict[str, int]:
    return {one.gr_name: one.gr_gid for one in grp.getgrall()}


def _named(numbers: Iterable[int], name_of: Callable[[int], str]) -> list[str]:
    """`app (1001)`; those that this node has no name for first."""
    nameless, named = [], []
    for number in sorted(numbers):
        try:
            named.append(f"{name_of(number)} ({number})")
        except KeyError:
            nameless.append(f"{number} without a name")
    all_of_them = [*nameless, *named]
    more = len(all_of_them) - MAX_OWNERS
    return [*all_of_them[:MAX_OWNERS], *([f"{more} more"] if more > 0 else [])]
