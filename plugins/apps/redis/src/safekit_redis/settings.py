"""The server's own configuration file, with the files that it includes: one directive a line, the last one counts."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safekit_sdk import ConfigError

_MAX_DEPTH: Final = 8
_MAX_BYTES: Final = 4 << 20


def settings(file: Path) -> dict[str, str]:
    """Directives in small letters. ConfigError when a file cannot be read."""
    return dict(_directives(file, 0))


def _directives(file: Path, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{file} is included too deeply", hint="does it include itself?")
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            lines = opened.read(_MAX_BYTES).splitlines()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint="correct the file on this node") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            name, *values = shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"{file}:{number}: {error}", hint="correct the file on this node") from None
        if name.lower() == "include":
            for found in sorted(glob.glob(values[0])) if values else ():  # noqa: PTH207 - the pattern is absolute
                yield from _directives(Path(found), depth + 1)
        else:
            yield name.lower(), " ".join(values)
