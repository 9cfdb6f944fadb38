"""`python -m safekit.simulation --seed-start 0 --histories 1000`, or `--seed 17 --trace` to read one."""

from __future__ import annotations

import argparse
import sys
import time

from safekit.simulation import draw, run_history


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m safekit.simulation", description=__doc__)
    parser.add_argument("--seed-start", type=int, default=0)
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--seed", type=int, help="one history")
    parser.add_argument("--trace", action="store_true", help="print what both nodes did and why")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, trace=asked.trace)
    return _many(asked.seed_start, asked.histories)


def _one(seed: int, *, trace: bool) -> int:
    outcome = run_history(seed, trace=trace)
    if trace:
        print(draw(seed))
        print("\n".join(outcome.trace))
    print(outcome.violation or f"seed {seed}: no violation in {outcome.simulated_s:.1f} s")
    return 1 if outcome.violation else 0


def _many(seed_start: int, histories: int) -> int:
    began_s, simulated_s, takeovers, both_s, violations = time.monotonic(), 0.0, 0, 0.0, 0
    for seed in range(seed_start, seed_start + histories):
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
