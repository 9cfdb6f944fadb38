"""`python -m safekit.snapshot`: what the daemon gathered comes in, this node's part goes out. The daemon starts it."""

from __future__ import annotations

import os
import sys

from safekit.settings import Settings
from safekit.snapshot.part import Gathered, make_part

LAST_IN_LINE = 19


def main() -> None:
    os.nice(LAST_IN_LINE)
    gathered = Gathered.model_validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(make_part(Settings(), gathered))


if __name__ == "__main__":
    main()
