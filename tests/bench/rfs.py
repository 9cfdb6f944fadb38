"""What a replicated directory costs, beside a plain one and GlusterFS replica 2 on the same disk, in turns.

`make bench` runs it and writes build/bench/rfs.json. Two data paths of the product replicate over loopback with TLS, a
pair for each mode. In each round every workload runs on all of them one after the other; a figure is the median over
the rounds of the ratio to the plain directory in the same round. Both copies share one disk and its processors. Then
resynchronisations: how long, and what was sent; and how long a program waits for an upgrade of the data path.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import figures
import gluster
import rfs_pair
import rfs_resync
import rfs_upgrade
from figures import Figure
from rfs_postgres import Postgres, programs
from rfs_workloads import ARCHIVE, REPOSITORY, UNITS, WORKLOADS
from workspace import ROOT

MODES = ("write", "ordered", "writeback")
PLAIN, GLUSTER = "plain", "glusterfs"
CONTENDERS = (PLAIN, *MODES, GLUSTER)
PGBENCH = "pgbench"
RESYNC, UPGRADE = "resync", "upgrade"
BESIDE = {RESYNC, UPGRADE}
"""Not in turns with other software."""
SECONDS = 1.0
ROUNDS = 3
GIGABYTES = 1.0
SMALL_FILES = 50_000
HANG_S = 90.0
"""A workload that takes so much longer than it should has failed."""
STEADY = 1.5
"""When the disk changes by more than this during a turn, the turn is made once more."""
AIMS = {
    "synced_1": (0.5, 2.5),
    "synced_4": (0.6, 2.5),
    "sqlite_rollback": (0.0, 8.0),
    "sqlite_wal": (0.0, 8.0),
    "untar": (0.0, 8.0),
    "read_cached": (0.95, 0.0),
    "sequential": (0.45, 0.0),
}
"""At least so much of plain, and so many times GlusterFS."""


@dataclass
class Ground:
    """Where each contender works, and what the workloads read."""

    place: Path
    directories: dict[str, Path]
    rates: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By workload and contender, one for each round."""
    failures: list[str] = field(default_factory=list)
    database: Postgres | None = None

    def run(self, workload: str, contender: str, seconds: float) -> float:
        """Its rate, or no number when it failed."""
        try:
            return self._rate(workload, self.directories[contender], seconds)
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            self.failures.append(f"{workload} on {contender}: {error}")
            print(self.failures[-1], file=sys.stderr, flush=True)
            return math.nan
        finally:
            os.sync()  # what one left in memory is not written while another is measured

    def take_turns(self, workload: str, others: list[str], seconds: float) -> tuple[dict[str, float], float]:
        """Rates, and by how much the plain directory changed from the first of the turn to the last, 1 at least."""
        first = self.run(workload, PLAIN, seconds)
        rates = {contender: self.run(workload, contender, seconds) for contender in others}
        last = self.run(workload, PLAIN, seconds)
        return {PLAIN: (first + last) / 2, **rates}, max(first, last) / min(first, last)

    def _rate(self, workload: str, top: Path, seconds: float) -> float:
        if workload == PGBENCH:
            assert self.database is not None
            return self.database.rate(top, seconds)
        program = str(Path(__file__).with_name("rfs_workloads.py"))
        words = [workload, str(top), str(seconds), str(self.place)]
        done = subprocess.run(
            [sys.executable, program, *words], stdout=subprocess.PIPE, timeout=seconds + HANG_S, check=True
        )
        found = json.loads(done.stdout)
        return float(found["count"]) / float(found["seconds"])

    def ratios(self, workload: str, contender: str, to: str) -> list[float]:
        """Of the rounds in which both went well."""
        pairs = zip(self.rates.get((workload, contender), ()), self.rates.get((workload, to), ()), strict=False)
        return [one / other for one, other in pairs if not math.isnan(one + other)]


def make_sources(place: Path) -> None:
    """The files of the SDK as an archive, and as a repository of git."""
    repository = place / REPOSITORY
    repository.mkdir()
    shutil.copytree(ROOT / "sdk", repository / "sdk", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    subprocess.run(["tar", "-cf", place / ARCHIVE, "-C", repository, "."], check=True)
    named = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", repository, *named, *words], check=True)


def compare(place: Path, asked: argparse.Namespace) -> tuple[list[Figure], list[str]]:
    make_sources(place)
    with ExitStack() as stack:
        directories = {PLAIN: place / PLAIN}
        directories[PLAIN].mkdir()
        for mode in [mode for mode in MODES if mode in asked.contenders]:
            pair = stack.enter_context(rfs_pair.pair(place / mode, mode=mode))
            pair.start()
            directories[mode] = pair.directory
        if GLUSTER in asked.contenders:
            directories[GLUSTER] = stack.enter_context(gluster.mounted(place / GLUSTER))
        ground = Ground(place, directories)
        prepare_database(ground, asked, stack)
        for number in range(asked.rounds):
            begin_s = time.monotonic()
            run_round(ground, number, asked)
            print(f"round {number + 1} of {asked.rounds}: {time.monotonic() - begin_s:.0f} s", flush=True)
        return results(ground), ground.failures


def prepare_database(ground: Ground, asked: argparse.Namespace, stack: ExitStack) -> None:
    folder = programs()
    if PGBENCH not in asked.only or folder is None:
        return
    ground.database = Postgres(folder, ground.place)
    stack.callback(ground.database.close)
    for directory in ground.directories.values():
        ground.database.copy_to(directory)


def run_round(ground: Ground, number: int, asked: argparse.Namespace) -> None:
    for workload in asked.only:
        if workload in BESIDE or (workload == PGBENCH and ground.database is None):
            continue
        begin_s = time.monotonic()
        others = [name for name in ground.directories if name != PLAIN]
        turn = number % max(1, len(others))
        rotated = [*others[turn:], *others[:turn]]
        rates, unsteady = ground.take_turns(workload, rotated, asked.seconds)
        if unsteady > STEADY:
            again, unsteady_again = ground.take_turns(workload, rotated, asked.seconds)
            rates, unsteady = (again, unsteady_again) if unsteady_again < unsteady else (rates, unsteady)
        for name, rate in rates.items():
            ground.rates.setdefault((workload, name), []).append(rate)
        told = ", ".join(f"{name} {rates[name]:.0f}" for name in ground.directories)
        print(f"  {workload}: {told} {UNITS.get(workload, '/s')}", end="", flush=True)
        print(f"; plain changed by {unsteady:.1f}; {time.monotonic() - begin_s:.0f} s", flush=True)


def results(ground: Ground) -> list[Figure]:
    found = []
    for workload in dict.fromkeys(workload for workload, _ in ground.rates):
        plain = [rate for rate in ground.rates[workload, PLAIN] if not math.isnan(rate)]
        if plain:
            unit = UNITS.get(workload, "/s")
            for word, value in (("", statistics.median(plain)), (".least", min(plain)), (".most", max(plain))):
                found.append(Figure(f"{workload}.{PLAIN}{word}", round(value, 1), unit, len(plain)))
        beside = ground.ratios(workload, GLUSTER, PLAIN)
        peers = {GLUSTER: round(statistics.median(beside), 3)} if beside else {}
        for mode in MODES:
            for to, word, others in ((PLAIN, "of plain", peers), (GLUSTER, "times glusterfs", {})):
                if ratios := ground.ratios(workload, mode, to):
                    name = f"{workload}.{mode}" if to == PLAIN else f"{workload}.{mode}.times_glusterfs"
                    value = round(statistics.median(ratios), 3)
                    found.append(Figure(name, value, word, len(ratios), others))
    return found


def table(found: list[Figure]) -> str:
    """One line for each workload, as Markdown: medians of the ratios to plain; then what else there is."""
    values = {figure.name: figure for figure in found}
    columns = ("workload", "plain, median (least to most)", *MODES, GLUSTER)
    rows = [columns, ("---",) * len(columns)]
    for workload in (*WORKLOADS, PGBENCH):
        if (plain := values.get(f"{workload}.{PLAIN}")) is None:
            continue
        least, most = (values[f"{workload}.{PLAIN}.{word}"].value for word in ("least", "most"))
        shown = [values.get(f"{workload}.{mode}") for mode in MODES]
        beside = next((figure.peers[GLUSTER] for figure in shown if figure and figure.peers), math.nan)
        ratios = [f"{figure.value:.2f}" if figure else "-" for figure in shown]
        rate = f"{plain.value:,.0f} {plain.unit} ({least:,.0f} to {most:,.0f})"
        rows.append((workload, rate, *ratios, f"{beside:.2f}"))
    others = [figure for figure in found if figure.name.startswith(tuple(BESIDE))]
    lines = [f"| {' | '.join(row)} |" for row in rows if len(rows) > 2]
    if others:
        lines += ["", figures.table(others)]
    return "\n".join(lines)


def judge(found: list[Figure]) -> str:
    """Which aims are met, as lines."""
    values = {figure.name: figure.value for figure in found}
    lines = []
    for workload, (of_plain, times) in AIMS.items():
        for mode in MODES:
            for aim, suffix, word in ((of_plain, "", "of plain"), (times, ".times_glusterfs", "times GlusterFS")):
                value = values.get(f"{workload}.{mode}{suffix}")
                if aim and value is not None:
                    verdict = "met" if value >= aim else "missed"
                    lines.append(f"{verdict}: {workload}, {mode}: {value:g} {word}, the aim is {aim:g}")
    return "\n".join(lines)


def read_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    every = (*WORKLOADS, PGBENCH, RESYNC, UPGRADE)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each workload (default {SECONDS:g})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default {ROUNDS})")
    parser.add_argument("--only", nargs="*", choices=every, default=every, help="these workloads")
    parser.add_argument("--contenders", nargs="*", choices=CONTENDERS[1:], default=CONTENDERS[1:], help="beside plain")
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="large files of the resynchronisation")
    parser.add_argument("--small-files", type=int, default=SMALL_FILES, help="of the resynchronisation")
    parser.add_argument("--place", default="/var/tmp", help="a directory on the disk to measure")
    return parser.parse_args()


def main() -> int:
    asked = read_words()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found: list[Figure] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(dir=asked.place, prefix="rfs-bench-") as name:
        place = Path(name)
        place.chmod(0o755)  # PostgreSQL is another user
        if set(asked.only) - BESIDE:
            found, failures = compare(place, asked)
            figures.write("rfs", found)
        if RESYNC in asked.only:
            found += rfs_resync.measure(place / RESYNC, asked.gigabytes, asked.small_files)
        if UPGRADE in asked.only:
            found += rfs_upgrade.measure(place / UPGRADE)
    print(f"\n{table(found)}\n\n{judge(found)}\n\nwritten to {figures.write('rfs', found)}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
