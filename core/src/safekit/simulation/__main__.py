"""`safekit-sim --seed-start 0 --histories 1000`, `safekit-sim --hours 1`, or `safekit-sim --seed 17 --trace` to read
one."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice, takewhile
from typing import Final

from safekit.simulation.drawing import draw
from safekit.simulation.history import Outcome, run_history
from safekit.simulation.shrinking import PATIENCE_S, shrink, story
from safekit.simulation.workers import run_histories

HISTORIES: Final = 500
TOLD: Final = 3
"""Of so many violations a smaller history is looked for."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="safekit-sim", description=__doc__)
    parser.add_argument("--seed-start", type=int, default=0)
    parser.add_argument("--histories", type=int, help=f"how many; {HISTORIES}, unless --hours is given")
    parser.add_argument("--hours", type=float, help="no more than there is time for")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="on how many processors; all of them")
    parser.add_argument("--shrink", type=float, default=PATIENCE_S, help="seconds for making a violation smaller")
    parser.add_argument("--seed", type=int, help="one history")
    parser.add_argument("--trace", action="store_true", help="print what every node did and why")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, trace=asked.trace, patience_s=asked.shrink)
    histories = HISTORIES if asked.histories is None and not asked.hours else asked.histories
    until_s = time.monotonic() + asked.hours * 3600 if asked.hours else math.inf
    seeds = takewhile(lambda _: time.monotonic() < until_s, islice(count(asked.seed_start), histories))
    return _many(seeds, max(asked.jobs, 1), asked.shrink)


def _one(seed: int, *, trace: bool, patience_s: float) -> int:
    outcome = run_history(seed, trace=trace)
    if trace:
        print(draw(seed))
        print("\n".join(outcome.trace))
    if not outcome.violation:
        print(f"seed {seed}: no violation in {outcome.simulated_s:.1f} s")
        return 0
    _tell(outcome, patience_s)
    return 1


def _tell(outcome: Outcome, patience_s: float) -> None:
    print(outcome.violation, flush=True)
    if patience_s > 0:
        lines = story(shrink(draw(outcome.seed), outcome, patience_s=patience_s), outcome)
        print("".join(f"    {line}\n" for line in lines), end="", flush=True)


@dataclass(slots=True)
class Summary:
    began_s: float = field(default_factory=time.monotonic)
    histories: int = 0
    violations: int = 0
    simulated_s: float = 0.0
    takeovers: int = 0
    both_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.histories += 1
        self.violations += bool(outcome.violation)
        self.simulated_s += outcome.simulated_s
        self.takeovers += outcome.takeovers
        self.both_s += outcome.both_s

    def __str__(self) -> str:
        minutes, hours = max(time.monotonic() - self.began_s, 0.001) / 60, self.simulated_s / 3600
        return (
            f"histories={self.histories} violations={self.violations} simulated_hours={hours:.2f} "
            f"takeovers={self.takeovers} both_primary_s={self.both_s:.1f} "
            f"histories_per_minute={self.histories / minutes:.0f} simulated_hours_per_minute={hours / minutes:.1f}"
        )


def _many(seeds: Iterable[int], jobs: int, patience_s: float) -> int:
    """The summary is one line, the last one; 1 when a promise was not kept."""
    summary = Summary()
    for outcome in _counted(run_histories(seeds, jobs), summary):
        _tell(outcome, patience_s if summary.violations <= TOLD else 0.0)
    print(summary)
    return 1 if summary.violations else 0


def _counted(outcomes: Iterable[Outcome], summary: Summary) -> Iterator[Outcome]:
    """Those that broke a promise."""
    for outcome in outcomes:
        summary.add(outcome)
        if outcome.violation:
            yield outcome


if __name__ == "__main__":
    sys.exit(main())
