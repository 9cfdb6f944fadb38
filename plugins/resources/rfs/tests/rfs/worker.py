"""A process that works in a directory in which others work, too. It ends with what comes first.

`worker.py names|file ROOT SEED STEPS SECONDS`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.exerciser import Exerciser
from rfs.operations import Machine


def main(kind: str, root: Path, seed: int, steps: int, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    if kind == "names":
        machine = Machine(seed, root)
        while steps and time.monotonic() < end_s:
            machine.step()
            steps -= 1
        machine.close()
        return
    with Exerciser(root / f"file-{seed}", seed) as exerciser:
        while steps and time.monotonic() < end_s:
            exerciser.step()
            steps -= 1
        exerciser.check()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6]))
