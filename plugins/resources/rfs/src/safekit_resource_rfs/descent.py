"""Directories with all that is beneath them, however deep: without recursion, and with few descriptors."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final, TypeAlias

from safekit_resource_rfs import local

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Folders: TypeAlias = tuple[int, ...]
"""Descriptors of directories that are gone through side by side; what is in the first one decides."""


def descend(
    folders: Folders, name: bytes, visit: Callable[[Folders, bytes], bool], leave: Callable[[Folders, bytes], None]
) -> None:
    """`visit` says of each name whether it is to be gone into, being a directory in all folders; `leave` comes after
    all that is in it. Nobody else may rename what is gone through."""
    if not visit(folders, name):
        return
    here = _moved(folders, name)
    try:
        left = [(name, names_in(here[0]))]
        while left:
            directory, names = left[-1]
            if not names:
                left.pop()
                if left:
                    here = _replaced(here, b"..")
                leave(here if left else folders, directory)  # ".." of the first may lead into what is mounted there
            elif visit(here, names[-1]):
                here = _replaced(here, names[-1])
                left.append((names.pop(), names_in(here[0])))
            else:
                names.pop()
    finally:
        _close(here)


def remove(directory_fd: int, name: bytes) -> None:
    """Of any kind; no symbolic link is followed."""

    def visit(folders: Folders, name: bytes) -> bool:
        is_directory = stat.S_ISDIR(local.status(folders[0], name).st_mode)
        if not is_directory:
            os.unlink(name, dir_fd=folders[0])
        return is_directory

    descend((directory_fd,), name, visit, lambda folders, name: os.rmdir(name, dir_fd=folders[0]))


def names_in(directory_fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(directory_fd)]


def _moved(folders: Folders, name: bytes) -> Folders:
    """OSError when it cannot be opened in all of them; nothing is open then."""
    opened: list[int] = []
    try:
        for folder in folders:
            opened.append(os.open(name, FOLDER, dir_fd=folder))
    except OSError:
        _close(tuple(opened))
        raise
    return tuple(opened)


def _replaced(folders: Folders, name: bytes) -> Folders:
    found = _moved(folders, name)
    _close(folders)
    return found


def _close(folders: Folders) -> None:
    for folder in folders:
        os.close(folder)
