"""What is done to a directory. `python rfs_workloads.py NAME DIRECTORY SECONDS SOURCES` prints count and seconds.

A process of its own, which can be ended when a file system hangs. Preparation and removal are not in the time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

BLOCK_BYTES = 4096
SPREAD_BYTES = 8 << 20
"""Where random blocks are, in a file for each writer."""
LARGE_BYTES = 64 << 20
"""Written in one go, then synced."""
BLOCK = random.Random(1).randbytes(BLOCK_BYTES)
MEGABYTE = BLOCK * 256
ARCHIVE = "sources.tar"
REPOSITORY = "repository"

Measured = tuple[float, float]
"""How many, in how many seconds."""


class Round:
    def __init__(self, top: Path, seconds: float, sources: Path) -> None:
        self.top = top
        self.seconds = seconds
        self.sources = sources

    def repeat(self, once: Callable[[int], float]) -> Measured:
        """As long as there is time; `once` gets its number and returns how much it did."""
        done, number = 0.0, 0
        begin_s = now_s = time.perf_counter()
        while now_s - begin_s < self.seconds:
            done += once(number)
            number += 1
            now_s = time.perf_counter()
        return done, now_s - begin_s


def filled(path: Path) -> int:
    """An open file of SPREAD_BYTES on the disk."""
    with path.open("wb") as file:
        for _ in range(SPREAD_BYTES // len(MEGABYTE)):
            file.write(MEGABYTE)
        file.flush()
        os.fsync(file.fileno())
    return os.open(path, os.O_RDWR)


def places(seed: int) -> list[int]:
    blocks = random.Random(seed)
    return [blocks.randrange(SPREAD_BYTES // BLOCK_BYTES) * BLOCK_BYTES for _ in range(8192)]


def synced(round_: Round, writers: int) -> Measured:
    descriptors = [filled(round_.top / str(writer)) for writer in range(writers)]
    counts = [0.0] * writers

    def write(writer: int) -> None:
        descriptor, where = descriptors[writer], places(writer)

        def once(number: int) -> float:
            os.pwrite(descriptor, BLOCK, where[number % len(where)])
            os.fdatasync(descriptor)
            return 1

        count, seconds = round_.repeat(once)
        counts[writer] = count / seconds

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), 1.0


def appended(round_: Round) -> Measured:
    """The file grows, so that a plain file system has to write its journal each time."""
    with (round_.top / "file").open("xb", buffering=0) as file:

        def once(number: int) -> float:
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            return 1

        return round_.repeat(once)


def buffered(round_: Round) -> Measured:
    descriptor, where = filled(round_.top / "file"), places(1)

    def once(number: int) -> float:
        for offset in where[number % 128 * 64 : number % 128 * 64 + 64]:
            os.pwrite(descriptor, BLOCK, offset)
        return 64

    return round_.repeat(once)


def read_cached(round_: Round) -> Measured:
    descriptor, where = filled(round_.top / "file"), places(1)
    while os.read(descriptor, len(MEGABYTE)):
        pass

    def once(number: int) -> float:
        for offset in where[number % 128 * 64 : number % 128 * 64 + 64]:
            os.pread(descriptor, BLOCK_BYTES, offset)
        return 64

    return round_.repeat(once)


def sequential(round_: Round) -> Measured:
    def once(number: int) -> float:
        path = round_.top / "large"
        with path.open("wb", buffering=0) as file:
            for _ in range(LARGE_BYTES // len(MEGABYTE)):
                file.write(MEGABYTE)
            os.fsync(file.fileno())
        path.unlink()
        return LARGE_BYTES / 1e6

    return round_.repeat(once)


def create(round_: Round) -> Measured:
    def once(number: int) -> float:
        with (round_.top / str(number)).open("xb", buffering=0) as file:
            file.write(BLOCK)
            os.fsync(file.fileno())
        return 1

    return round_.repeat(once)


def untar(round_: Round) -> Measured:
    archive = round_.sources / ARCHIVE
    entries = len(subprocess.run(["tar", "-tf", archive], check=True, capture_output=True).stdout.splitlines())

    def once(number: int) -> float:
        target = round_.top / str(number)
        target.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
        return entries

    return round_.repeat(once)


def clone(round_: Round) -> Measured:
    def once(number: int) -> float:
        target = round_.top / str(number)
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", round_.sources / REPOSITORY, target], check=True)
        return 1

    return round_.repeat(once)


def sqlite(round_: Round, journal: str) -> Measured:
    database = sqlite3.connect(round_.top / "database", isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {journal}")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, content BLOB)")

    def once(number: int) -> float:
        database.execute("INSERT INTO entries (content) VALUES (?)", (BLOCK[:200],))
        return 1

    found = round_.repeat(once)
    database.close()
    return found


WORKLOADS: dict[str, Callable[[Round], Measured]] = {
    "synced_1": lambda round_: synced(round_, 1),
    "synced_4": lambda round_: synced(round_, 4),
    "appended": appended,
    "buffered": buffered,
    "sequential": sequential,
    "read_cached": read_cached,
    "create": create,
    "untar": untar,
    "clone": clone,
    "sqlite_rollback": lambda round_: sqlite(round_, "DELETE"),
    "sqlite_wal": lambda round_: sqlite(round_, "WAL"),
}
UNITS = {"sequential": "MB/s", "untar": "entries/s", "create": "files/s", "clone": "clones/s"}
"""Where it is not operations per second."""


def main() -> int:
    name, directory, seconds, sources = sys.argv[1:]
    top = Path(tempfile.mkdtemp(dir=directory, prefix=f"{name}-"))
    try:
        count, took_s = WORKLOADS[name](Round(top, float(seconds), Path(sources)))
    finally:
        shutil.rmtree(top)
    print(json.dumps({"count": count, "seconds": took_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
