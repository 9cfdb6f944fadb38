"""A process that does random operations in a directory that others modify, too: `worker.py root seed count`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.operations import Machine

if __name__ == "__main__":
    machine = Machine(int(sys.argv[2]), Path(sys.argv[1]))
    for _ in range(int(sys.argv[3])):
        machine.step()
    machine.close()
