"""How fast a mount is beside a plain directory on the same disk: `measure.py [place] [rounds]`. Each workload runs
on one after the other in each round; medians of the ratio to plain, higher is better."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.mounts import served

BLOCK = os.urandom(4096)


def write_synced(top: Path) -> int:
    with (top / "synced").open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(BLOCK)
            os.fdatasync(file.fileno())
    return 300


def write_buffered(top: Path) -> int:
    with (top / "buffered").open("wb", buffering=0) as file:
        for _ in range(5000):
            file.write(BLOCK)
    return 5000


def write_large(top: Path) -> int:
    data = BLOCK * 256
    with (top / "large").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(data)
        os.fsync(file.fileno())
    return 200


def read_cached(top: Path) -> int:
    with (top / "large").open("rb", buffering=0) as file:
        for number in range(20_000):
            os.pread(file.fileno(), 4096, number % 1000 * 4096)
    return 20_000


def create(top: Path) -> int:
    (top / "created").mkdir()
    for number in range(1500):
        (top / "created" / str(number)).write_bytes(b"x" * 100)
    return 1500


def stat_all(top: Path) -> int:
    for path in (top / "created").iterdir():
        path.stat()
    return 1500


def remove(top: Path) -> int:
    shutil.rmtree(top / "created")
    return 1500


def untar(top: Path) -> int:
    (top / "untarred").mkdir()
    subprocess.run(["tar", "-xf", str(top.parent / "archive.tar"), "-C", str(top / "untarred")], check=True)
    shutil.rmtree(top / "untarred")
    return 1


WORKLOADS: tuple[Callable[[Path], int], ...] = (
    *(write_synced, write_buffered, write_large, read_cached, create, stat_all, remove, untar),
)


def timed_s(workload: Callable[[Path], int], top: Path) -> tuple[float, int]:
    start_s = time.perf_counter()
    count = workload(top)
    return time.perf_counter() - start_s, count


def main(place: Path, rounds: int) -> None:
    package = str(Path(__file__).parents[5])
    subprocess.run(["tar", "-cf", str(place / "archive.tar"), "-C", package, "plugins", "core", "sdk"], check=True)
    (place / "plain").mkdir()
    ratios: dict[str, list[float]] = {}
    speeds: dict[str, list[float]] = {}
    with served(place, kind="local") as mount:
        for _ in range(rounds):
            for workload in WORKLOADS:
                plain_s, count = timed_s(workload, place / "plain")
                mounted_s, _ = timed_s(workload, mount.directory)
                ratios.setdefault(workload.__name__, []).append(plain_s / mounted_s)
                speeds.setdefault(workload.__name__, []).append(count / mounted_s)
    for name, found in ratios.items():
        print(f"{name:16} {statistics.median(found):6.2f}  {statistics.median(speeds[name]):10.0f}/s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        main(Path(place), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
