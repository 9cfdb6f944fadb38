"""What is not replicated: it stays on the node on which it is made."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Final


class Exclusion:
    """Patterns of a shell. One without a slash is a name anywhere; one with slashes a path from the directory on, in
    which no wildcard matches a slash. What is below something excluded is excluded."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        words = [pattern.split("/") for pattern in patterns]
        self._names = [_compiled(word[0]) for word in words if len(word) == 1]
        self._paths = [[_compiled(part) for part in word] for word in words if len(word) > 1]

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def holds(self, path: bytes) -> bool:
        if not self or not path:
            return False
        parts = path.split(b"/")
        return any(name.match(part) for name in self._names for part in parts) or any(
            len(parts) >= len(pattern) and _match(pattern, parts) for pattern in self._paths
        )

    def reaches_below(self, path: bytes) -> bool:
        """Whether a path below this one can be excluded by where it is, and not by its name."""
        parts = path.split(b"/")
        return any(len(parts) < len(pattern) and _match(pattern, parts) for pattern in self._paths)


def _compiled(pattern: str) -> re.Pattern[bytes]:
    """Of bytes, as names are; a character in brackets has to be one byte."""
    return re.compile(fnmatch.translate(pattern).encode("utf-8", "surrogateescape"), re.DOTALL)


def _match(pattern: list[re.Pattern[bytes]], parts: list[bytes]) -> bool:
    return all(one.match(part) for one, part in zip(pattern, parts, strict=False))


NOTHING: Final = Exclusion()
