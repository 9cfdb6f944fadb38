"""A mirror on a starved machine: four processes that burn the processors, and one that writes and syncs all the time.

`make starve` runs it for ten minutes and writes build/bench/starved.json. It ends with an exit code other than 0 when
the primary changed, or a client got no answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import lab_cluster
from figures import Figure, write
from lab_cluster import VIP, Cluster

MINUTES = 10.0
BURNERS = 4
BURN = "while True: pass"
WRITE = """import os, sys
with open(sys.argv[1], "wb") as file:
    while True:
        file.seek(0)
        for _ in range(64):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
"""


@contextmanager
def load(burners: int) -> Iterator[None]:
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        programs = [[BURN]] * burners + [[WRITE, file.name]]
        for program in programs:
            process = subprocess.Popen([sys.executable, "-c", *program])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def decisions(made: Cluster) -> list[str]:
    """What the nodes decided, in one list."""
    return [
        entry["type"]
        for node in made.nodes
        for entry in json.loads(made.safekit(node, "log", "-n", "5000", "-o", "json", timeout_s=300.0).stdout)
        if entry["kind"] == "decision"
    ]


def starve(seconds: float, burners: int = BURNERS) -> list[Figure]:
    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_apache_mirror(made)
        primary = made.primary()
        before = decisions(made)
        with load(burners), made.lab.probe(f"http://{VIP}/", interval_s=0.1, timeout_s=2.0) as probe:
            time.sleep(seconds)
        summary = probe.result().summary
        new = decisions(made)[len(before) :]
        moved = int(made.primary() is not primary) + sum(name in ("takeover", "two-primaries") for name in new)
        runs = max(1, round(seconds / 60))
    return [
        Figure("starved.false_failovers", moved, "", runs),
        Figure("starved.peers_lost", new.count("peer-lost"), "", runs),
        Figure("starved.own_sleeps", new.count("own-sleep"), "", runs),
        Figure("starved.requests", summary.requests, "", runs),
        Figure("starved.unanswered", summary.failed, "", runs),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    found = starve(parser.parse_args().minutes * 60)
    path = write("starved", found)
    for figure in found:
        print(f"{figure.name}: {figure.value:g}")
    print(f"written to {path}")
    by_name = {figure.name: figure.value for figure in found}
    return 1 if by_name["starved.false_failovers"] or by_name["starved.unanswered"] else 0


if __name__ == "__main__":
    sys.exit(main())
