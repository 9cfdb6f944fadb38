"""Versions of a split brain's loser below `.safekit-rfs/aside/<set>/`, each under the path that it had."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_rfs import descent
from safekit_resource_rfs.descent import FOLDER
from safekit_resource_rfs.plan import OWN_FOLDER

ASIDE: Final = "aside"
MAX_LISTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    group: str
    """The set: when, and of which generation."""
    path: str
    """Below the set, as in the replicated directory."""
    size_bytes: int
    mtime_s: float


def place(root_fd: int) -> Path:
    """Reaches below the mount. The descriptor has to stay open."""
    return Path(f"/proc/self/fd/{root_fd}") / OWN_FOLDER / ASIDE


def sets(root_fd: int) -> list[Path]:
    """The latest first."""
    with contextlib.suppress(FileNotFoundError):
        return sorted((one for one in place(root_fd).iterdir() if _is_folder(one)), reverse=True)
    return []


def listed(root_fd: int) -> list[Kept]:
    """At most MAX_LISTED; reads no content."""
    found: list[Kept] = []
    for group in sets(root_fd):
        for path, about in _files(group):
            if len(found) == MAX_LISTED:
                return found
            relative = str(path.relative_to(group))
            found.append(Kept(group.name, relative, about.st_size, about.st_mtime))
    return found


def _files(group: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """But for those with a path that is longer than the kernel takes."""
    waiting = [group]
    while waiting:
        folder = waiting.pop()
        entries: list[os.DirEntry[str]] = []
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(folder / entry.name)
                continue
            with contextlib.suppress(OSError):
                yield folder / entry.name, entry.stat(follow_symlinks=False)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def find(root_fd: int, group: str, path: str) -> Path:
    """Where that version is, reached below the mount; never outside of the set. FileNotFoundError: there is none."""
    words = Path(path).parts
    if group in ("", ".", "..") or "/" in group or not words or Path(path).is_absolute() or ".." in words:
        raise FileNotFoundError(2, "there is no such version", f"{group}/{path}")
    found = place(root_fd) / group
    for word in words:
        if not _is_folder(found):
            raise FileNotFoundError(2, "there is no such version", f"{group}/{path}")
        found /= word
    found.lstat()
    return found


def restore(root_fd: int, group: str, path: str, target: Path) -> None:
    """Copy a version, with its mode, owner, times and attributes, to a place in the mounted directory: a new file that
    then takes the place of what is there."""
    source = find(root_fd, group, path)
    about = source.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise IsADirectoryError(21, "only files can be restored; copy others by hand", path)
    part = target.with_name(f".{target.name[:200]}.restored")
    try:
        shutil.copy2(source, part, follow_symlinks=False)
        os.chown(part, about.st_uid, about.st_gid, follow_symlinks=False)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def prune(root_fd: int, oldest_s: float, limit_bytes: int) -> int:
    """Remove sets made before `oldest_s` (Unix time), and the oldest ones beyond the limit, but not the latest for its
    size alone. Returns how many."""
    removed = held_bytes = 0
    for position, group in enumerate(sets(root_fd)):
        size_bytes = sum(about.st_blocks * 512 for _, about in _files(group))
        held_bytes += size_bytes
        if group.lstat().st_ctime < oldest_s or (position and held_bytes > limit_bytes):
            _remove(group)
            held_bytes -= size_bytes
            removed += 1
    return removed


def _remove(group: Path) -> None:
    fd = os.open(group.parent, FOLDER)
    try:
        descent.remove(fd, os.fsencode(group.name))
    finally:
        os.close(fd)
