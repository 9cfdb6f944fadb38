"""Whether a directory is one that `rfs` replicates, and whether the data in it are this node's now."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE_SYSTEM: Final = "fuse.safekit-rfs"
"""The type of its mount."""
NOTICE: Final = "README.safekit"
"""The one file that such a directory shows while this node is not primary."""


def is_replicated(directory: Path) -> bool:
    """Whether what lies over it now is a data path of `rfs`."""
    best, kind = Path("/"), ""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].encode().decode("unicode_escape"))
        if directory.is_relative_to(point) and point.is_relative_to(best):
            best, kind = point, after.split()[0]
    return kind == FILE_SYSTEM


def is_covered(directory: Path) -> bool:
    """Whether this node is not the one that may use what is in it."""
    return (directory / NOTICE).exists()
