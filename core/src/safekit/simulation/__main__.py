"""`safekit-sim --seed-start 0 --histories 1000`, `safekit-sim --hours 1`, or `safekit-sim --seed 17 --trace` to read
one."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable
from itertools import count, takewhile

from safekit.simulation import draw, run_history


def main() -> int:
    parser = argparse.ArgumentParser(prog="safekit-sim", description=__doc__)
    parser.add_argument("--seed-start", type=int, default=0)
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--hours", type=float, help="as many as there is time for")
    parser.add_argument("--seed", type=int, help="one history")
    parser.add_argument("--trace", action="store_true", help="print what both nodes did and why")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, trace=asked.trace)
    seeds = count(asked.seed_start) if asked.hours else range(asked.seed_start, asked.seed_start + asked.histories)
    until_s = time.monotonic() + asked.hours * 3600 if asked.hours else math.inf
    return _many(takewhile(lambda _: time.monotonic() < until_s, seeds))


def _one(seed: int, *, trace: bool) -> int:
    outcome = run_history(seed, trace=trace)
    if trace:
        print(draw(seed))
        print("\n".join(outcome.trace))
    print(outcome.violation or f"seed {seed}: no violation in {outcome.simulated_s:.1f} s")
    return 1 if outcome.violation else 0


def _many(seeds: Iterable[int]) -> int:
    """The summary is one line, the last one; 1 when a rule was broken."""
    began_s, simulated_s, takeovers, both_s, violations, histories = time.monotonic(), 0.0, 0, 0.0, 0, 0
    for seed in seeds:
        histories += 1
        outcome = run_history(seed)
        simulated_s += outcome.simulated_s
        takeovers += outcome.takeovers
        both_s += outcome.both_s
        if outcome.violation:
            violations += 1
            print(outcome.violation, flush=True)
    per_minute = histories / max(time.monotonic() - began_s, 0.001) * 60
    print(
        f"histories={histories} violations={violations} simulated_hours={simulated_s / 3600:.2f} "
        f"takeovers={takeovers} both_primary_s={both_s:.1f} histories_per_minute={per_minute:.0f}"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
