"""Random faults for hours: a mirror with replicated data and a lease witness, a farm, and real clients of both.
With `--guests-every N` it is a virtual machine instead in every Nth turn.

`make soak HOURS=1 SEED=7`. It ends at the first violation with exit code 1, and keeps in build/soak what the nodes
remember (`safekit replay --file`) and what was done to them. Without one it writes build/bench/soak.json.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections import Counter

from figures import Figure, write
from lab_cluster import FailedError
from soaking import Soak
from soaking_files import files
from soaking_guests import guests
from workspace import ROOT

BETWEEN_RESTS = 5
"""Rounds of a turn, before all has to come to rest and is looked at."""
GUESTS_RESTS = 3
"""Turns of a virtual machine in a row, as its nodes are set up anew."""


class ViolationError(Exception):
    """What must hold did not."""


def take_turn(played: Soak, kept: str, counted: Counter[str]) -> None:
    """ViolationError, with what the nodes remember kept under that name."""
    rounds, acknowledged = played.rounds, played.acknowledged()
    try:
        for _ in range(BETWEEN_RESTS):
            played.play()
        played.rest()
        wrong = "; ".join(played.violations())
    except FailedError as failure:
        wrong = f"it does not come to rest: {failure}"
    counted["rounds"] += played.rounds - rounds
    counted["acknowledged"] += played.acknowledged() - acknowledged
    if wrong:
        place = played.journals(ROOT / "build" / "soak", kept)
        raise ViolationError(f"of {type(played).__name__} after {played.rounds} rounds: {wrong}\nkept: {place}")
    print(
        f"{type(played).__name__}: {played.rounds} rounds, {played.acknowledged()} acknowledged, all there", flush=True
    )


def play(seed: int, hours: float, guests_every: int, counted: Counter[str]) -> None:
    """ViolationError at the first one."""
    until_s = time.monotonic() + hours * 3600
    rng = random.Random(seed)
    with files(rng) as steady:
        for turn in itertools.count(1):
            if time.monotonic() > until_s:
                return
            if guests_every and turn % guests_every == 0:
                with guests(rng) as machine:
                    for _ in range(GUESTS_RESTS):
                        take_turn(machine, f"seed-{seed}-guests", counted)
                counted["guests"] += machine.rounds
            else:
                take_turn(steady, f"seed-{seed}", counted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--guests-every", type=int, default=0, help="every so many turns a virtual machine; 0: none")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    begun_s = time.monotonic()
    counted: Counter[str] = Counter(rounds=0, guests=0, acknowledged=0)
    try:
        play(given.seed, given.hours, given.guests_every, counted)
    except ViolationError as violation:
        print(f"VIOLATION with seed {given.seed} {violation}", flush=True)
        return 1
    figures = {"hours": (time.monotonic() - begun_s) / 3600, **counted}
    print(f"written to {write('soak', [Figure(f'soak.{name}', value, '', 1) for name, value in figures.items()])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
