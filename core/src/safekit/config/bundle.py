"""The files of one module as they travel and are kept: relative paths to contents."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from safekit_sdk import ConfigError

MODULE_FILE: Final = "module.yaml"
MAX_BYTES: Final = 16 << 20
MAX_FILES: Final = 1000
MAX_PATH: Final = 256
MAX_PARTS: Final = 16
_PART: Final = re.compile(r"[A-Za-z0-9_@%+=,~-][A-Za-z0-9_.@%+=,:~ -]*|\.[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LEFTOVERS: Final = re.compile(r".*~|.*\.sw[a-p]|\.git|__pycache__")

Files = Mapping[str, bytes]
"""`module.yaml` and `scripts/start` to their contents. What begins with `#!` or is a program becomes executable:
no mode travels, so none can be wrong."""


def check(files: Files) -> None:
    """ConfigError for a path that leaves the module's directory, a file that is also a directory, too many or too
    large files, or when `module.yaml` is missing."""
    if MODULE_FILE not in files:
        raise ConfigError(f"the module has no file {MODULE_FILE}", hint="every module has one, beside its scripts")
    if len(files) > MAX_FILES:
        raise ConfigError(f"the module has {len(files)} files; the limit is {MAX_FILES}", hint="keep data elsewhere")
    size = sum(len(content) for content in files.values())
    if size > MAX_BYTES:
        raise ConfigError(f"the module's files have {size} bytes; the limit is {MAX_BYTES}", hint="keep data elsewhere")
    for path in files:
        check_path(path)
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise ConfigError(f"'{parent}' is a file and a directory", where=path)


def check_path(path: str) -> None:
    parts = path.split("/")
    fit = all(_PART.fullmatch(part) and not _LEFTOVERS.fullmatch(part) for part in parts)
    if not fit or len(path) > MAX_PATH or len(parts) > MAX_PARTS:
        raise ConfigError(
            f"{path[:MAX_PATH]!r} cannot be the path of a module's file",
            hint="a relative path of letters, digits and _ - . without '..', at most 256 characters",
        )


def digest(files: Files) -> str:
    """SHA-256 over paths and contents, in hex."""
    total = hashlib.sha256()
    for path in sorted(files):
        name = path.encode()
        total.update(b"%d:%s%d:" % (len(name), name, len(files[path])))
        total.update(files[path])
    return total.hexdigest()


def mode(content: bytes) -> int:
    return 0o755 if content.startswith((b"#!", b"\x7fELF")) else 0o644


def read_bundle(directory: Path) -> dict[str, bytes]:
    """The files below a directory, without editors' leftovers. ConfigError for a link or anything else that is no
    plain file, and as soon as the limits are passed."""
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    for path in _walk(directory):
        if len(files) >= MAX_FILES:
            raise ConfigError(f"more than {MAX_FILES} files", where=str(directory), hint="keep data elsewhere")
        content = _read(path, left)
        left -= len(content)
        files[path.relative_to(directory).as_posix()] = content
    return files


def _walk(directory: Path) -> Iterator[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise ConfigError(f"the directory cannot be read: {error.strerror}", where=str(directory)) from None
    for path in entries:
        if _LEFTOVERS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _read(path: Path, limit: int) -> bytes:
    """The content, without following a link and without waiting for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what = "a symbolic link, which is not applied" if path.is_symlink() else f"not readable: {error.strerror}"
        raise ConfigError(f"this is {what}", where=str(path), hint="put the file itself here") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("this is no plain file", where=str(path), hint="remove it")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ConfigError(f"the module's files have more than {MAX_BYTES} bytes", where=str(path))
    return content
