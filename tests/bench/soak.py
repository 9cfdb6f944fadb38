"""Random faults for hours: a mirror with replicated data and a lease witness, a farm, and real clients of both.

`make soak HOURS=1 SEED=7`. It ends at the first violation with exit code 1, and keeps in build/soak what the nodes
remember (`safekit replay --file`) and what was done to them. Without one it writes build/bench/soak.json.
"""

from __future__ import annotations

import argparse
import sys
import time

from figures import Figure, write
from lab_cluster import FailedError
from soaking import Soak, soak
from workspace import ROOT

BETWEEN_RESTS = 5
"""Rounds before all has to come to rest and is looked at."""


def play(found: Soak, until_s: float) -> str:
    """Return what was wrong, or nothing."""
    while time.monotonic() < until_s:
        try:
            for _ in range(BETWEEN_RESTS):
                found.play()
            found.rest()
        except FailedError as failure:
            return f"it does not come to rest: {failure}"
        if wrong := found.violations():
            return "; ".join(wrong)
        print(f"{found.rounds} rounds, {found.acknowledged()} acknowledged, all there", flush=True)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    begun_s = time.monotonic()
    with soak(given.seed) as found:
        wrong = play(found, begun_s + given.hours * 3600)
        if wrong:
            kept = found.journals(ROOT / "build" / "soak", f"seed-{given.seed}")
            print(f"VIOLATION with seed {given.seed} after {found.rounds} rounds: {wrong}\nkept: {kept}", flush=True)
            return 1
        rounds, acknowledged = found.rounds, found.acknowledged()
    counted = {"hours": (time.monotonic() - begun_s) / 3600, "rounds": rounds, "acknowledged": acknowledged}
    print(f"written to {write('soak', [Figure(f'soak.{name}', value, '', 1) for name, value in counted.items()])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
