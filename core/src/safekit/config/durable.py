"""Writes that are on disk when they return."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath


def write_file(path: Path, data: bytes, mode: int) -> None:
    """A new file at `path`, replacing one; its content is on disk, its name is once `sync_directory` ran."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tree(directory: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """A new directory with these files (relative path to content and mode), all of it on disk when it returns."""
    directories = {directory, *(parent for path in files for parent in _parents(directory, path))}
    for made in sorted(directories):
        made.mkdir(mode=0o755)
    for path, (content, mode) in files.items():
        write_file(directory / path, content, mode)
    for made in directories:
        sync_directory(made)


def _parents(directory: Path, path: str) -> Iterator[Path]:
    """The directories between `directory` and the file."""
    for parent in PurePosixPath(path).parents:
        if parent.parts:
            yield directory / parent


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """The old content or the new, whatever happens: written beside it, then renamed over it."""
    beside = path.with_name(f".{path.name}.new")
    try:
        write_file(beside, data, mode)
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
