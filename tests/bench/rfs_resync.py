"""How long the second node takes to be up to date again, by what was changed while it was away.

`PYTHONPATH=tests:tests/repo python tests/bench/rfs_resync.py --files 1000000` measures it with very many small files:
the first synchronisation, and then a hundred changed ones. It keeps the figures in build/bench/rfs.json."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import figures
import rfs_pair
from figures import Figure

MIB = 1 << 20
FILE_MIB = 128
IN_A_FOLDER = 100
SMALL_BYTES = 1000
CHANGED_FILES = 100


def fill(top: Path, gigabytes: float, small_files: int) -> None:
    """No two MiB are equal, nor two small files."""
    block = bytearray(random.Random(1).randbytes(MIB))
    for number in range(max(1, round(gigabytes * 1024 / FILE_MIB)) if gigabytes else 0):
        with (top / f"large{number}").open("wb", buffering=0) as file:
            for mib in range(FILE_MIB):
                block[:16] = f"{number:8}{mib:8}".encode()
                file.write(block)
    for number in range(small_files):
        path = small(top, number)
        if number % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(f"{number:10}".encode() * (SMALL_BYTES // 10))


def small(top: Path, number: int) -> Path:
    return top / "small" / str(number // IN_A_FOLDER) / str(number % IN_A_FOLDER)


def change_large(top: Path, part: float) -> None:
    """So many of all MiB, one in each zone of the replication as long as there are enough."""
    files = sorted(top.glob("large*"))
    total = len(files) * FILE_MIB
    spacing = max(1, min(4, round(1 / part)))
    for where in random.Random(part).sample(range(0, total, spacing), max(1, round(total * part))):
        with files[where // FILE_MIB].open("r+b", buffering=0) as file:
            file.seek(where % FILE_MIB * MIB)
            file.write(os.urandom(MIB))


def change_small(top: Path, small_files: int) -> None:
    for number in random.Random(2).sample(range(small_files), min(CHANGED_FILES, small_files)):
        small(top, number).write_bytes(os.urandom(SMALL_BYTES))


def measure(place: Path, gigabytes: float, small_files: int) -> list[Figure]:
    """Both begin with the same files, as after a seeding by hand."""
    with rfs_pair.pair(place, first_sync="overwrite") as made:
        top = made.directory
        fill(top, gigabytes, small_files)
        subprocess.run(["cp", "-a", f"{top}/.", made.two.directory], check=True)
        os.sync()
        found = told("resync_seeded", made.start())
        changes: dict[str, Callable[[], None]] = {
            "resync_nothing": lambda: None,
            "resync_1_percent": lambda: change_large(top, 0.01),
            "resync_10_percent": lambda: change_large(top, 0.1),
            f"resync_{CHANGED_FILES}_files": lambda: change_small(top, small_files),
        }
        for name, change in changes.items():
            made.lose()
            change()
            os.sync()
            found += told(name, made.join())
        return found + peaks("resync_peak", made)


def measure_many(place: Path, small_files: int) -> list[Figure]:
    """The second node begins empty."""
    with rfs_pair.pair(place) as made:
        fill(made.directory, 0, small_files)
        os.sync()
        found = [Figure("many_files.count", small_files, "files", 1)]
        found += told("many_files_first", made.start()) + peaks("many_files_first_peak", made)
        made.lose()
        change_small(made.directory, small_files)
        os.sync()
        name = f"many_files_{CHANGED_FILES}_changed"
        return found + told(name, made.join()) + peaks(f"{name}_peak", made)


def peaks(name: str, made: rfs_pair.Pair) -> list[Figure]:
    """Since each data path was started."""
    peaks_mib = {"primary": round(made.one.peak_mib), "secondary": round(made.two.peak_mib)}
    print(f"{name}: " + ", ".join(f"{value} MiB {node}" for node, value in peaks_mib.items()), flush=True)
    return [Figure(f"{name}.{node}", value, "MiB", 1) for node, value in peaks_mib.items()]


def told(name: str, measured: dict[str, float]) -> list[Figure]:
    print(f"{name}: " + ", ".join(f"{value:.2f} {unit}" for unit, value in measured.items()), flush=True)
    return [
        Figure(f"{name}.time", round(measured["s"], 2), "s", 1),
        Figure(f"{name}.sent", round(measured["sent_mb"], 2), "MB", 1),
        Figure(f"{name}.received", round(measured["received_mb"], 2), "MB", 1),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--files", type=int, default=1_000_000, help="of 1 kB, a hundred in a folder (default %(default)s)"
    )
    parser.add_argument("--place", default="/var/tmp", help="a directory on the disk to measure")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(dir=asked.place, prefix="rfs-bench-") as place:
        found = measure_many(Path(place) / "many", asked.files)
    print(f"\n{figures.table(found)}\n\nwritten to {figures.keep('rfs', found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
