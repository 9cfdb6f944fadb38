"""How long a program waits while another version of the data path takes over under its mount.

`PYTHONPATH=tests:tests/repo python tests/bench/rfs_upgrade.py` keeps the figures in build/bench/rfs.json. A program
writes 4 KiB after 4 KiB to a file on the mount and never pauses; the pause of an upgrade is its longest write."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import figures
import rfs_pair
from figures import Figure

UPGRADES = 20
BLOCK = os.urandom(4096)
BLOCKS = 1000
"""Of the file that is written again and again."""


class Writer:
    """A thread: the time of its system calls is all that is measured."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self._is_over = False
        self._longest_s = 0.0
        self._count = 0
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        try:
            while not self._is_over:
                begin_s = time.perf_counter()
                os.pwrite(self._fd, BLOCK, self._count % BLOCKS * len(BLOCK))
                self._longest_s = max(self._longest_s, time.perf_counter() - begin_s)
                self._count += 1
        except OSError as error:
            self._failure = error

    def take_longest_s(self) -> float:
        """Of the writes since this was called last, that one included which goes on. OSError, if one failed."""
        at, end_s = self._count, time.monotonic() + rfs_pair.PATIENCE_S
        while self._count == at and not self._failure and time.monotonic() < end_s:
            time.sleep(0.001)
        if self._failure:
            raise self._failure
        found, self._longest_s = self._longest_s, 0.0
        return found

    def end(self) -> None:
        self._is_over = True
        self._thread.join()
        os.close(self._fd)


def measure(place: Path, upgrades: int = UPGRADES) -> list[Figure]:
    found: list[Figure] = []
    with rfs_pair.pair(place) as made:
        made.start()
        for name, node in (("primary", made.one), ("secondary", made.two)):
            pauses_s = pauses_of(made, node, upgrades)
            for word, value_s in (("median", statistics.median(pauses_s)), ("longest", max(pauses_s))):
                found.append(Figure(f"upgrade_pause_{name}.{word}", round(value_s * 1000), "ms", upgrades))
    return found


def pauses_of(made: rfs_pair.Pair, node: rfs_pair.Node, upgrades: int) -> list[float]:
    """In seconds."""
    writer = Writer(made.directory / "written")
    pauses_s = []
    try:
        for _ in range(upgrades):
            writer.take_longest_s()
            made.upgrade(node)
            pauses_s.append(writer.take_longest_s())
            print(f"upgrade: {pauses_s[-1]:.3f} s", flush=True)
    finally:
        writer.end()
    return pauses_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrades", type=int, default=UPGRADES, help="of each node (default %(default)s)")
    parser.add_argument("--place", default="/var/tmp", help="a directory on the disk to measure")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(dir=asked.place, prefix="rfs-bench-") as place:
        found = measure(Path(place) / "upgrade", asked.upgrades)
    print(f"\n{figures.table(found)}\n\nwritten to {figures.keep('rfs', found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
