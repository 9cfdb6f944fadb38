"""What somebody without privileges does."""

from __future__ import annotations

import subprocess
from pathlib import Path

NOBODY = 65534


def as_nobody(root: Path, script: str) -> str:
    """What the Python program prints."""
    return subprocess.run(
        ["/usr/bin/python3", "-c", script],
        cwd=root, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
