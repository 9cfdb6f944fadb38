"""Several processes at once do everything to the directory of a pair; then both sides have to be the same.

`python storm.py --minutes 60 --seed 1 --mode write` says what differs, and with which seed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.cluster import Node, mirrored, two_nodes
from rfs.mounts import compare

WORKER = Path(__file__).with_name("worker.py")
KINDS = ("names", "names", "names", "names", "file", "file")
ROUND_S = 60
"""In a longer storm both sides are compared so often."""
SLACK_S = 120
UNBOUNDED = 10**9


def blow(root: Path, seed: int, seconds: int) -> list[str]:
    """What the processes complain of."""
    commands = [
        [sys.executable, str(WORKER), kind, str(root), str(seed * 100 + number), str(UNBOUNDED), str(seconds)]
        for number, kind in enumerate(KINDS)
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        complaints = [process.communicate(timeout=seconds + SLACK_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [complaint for complaint in complaints if complaint]


async def storm(place: Path, seed: int, seconds: int, mode: str) -> list[str]:
    """What is not as it should be, after a storm on a new pair."""
    async with two_nodes(place, mode=mode, timeout="30s") as (one, two):
        await mirrored(one, two)
        complaints = await asyncio.to_thread(blow, one.directory, seed, seconds)
        return complaints + await differences(one, two)


async def differences(one: Node, two: Node) -> list[str]:
    """The primary is stopped first: it records what is due."""
    await one.stop()
    await two.stop()
    return await asyncio.to_thread(compare, one.directory, two.directory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", default="write", choices=("write", "ordered", "writeback"))
    given = parser.parse_args()
    end_s, seed = time.monotonic() + given.minutes * 60, given.seed
    while (left_s := end_s - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory(prefix="storm-", dir="/var/tmp") as place:
            found = asyncio.run(storm(Path(place), seed, min(ROUND_S, int(left_s) + 1), given.mode))
        print(f"seed {seed}, {given.mode}: {len(found)} differences", *found[:20], sep="\n", flush=True)
        if found:
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
