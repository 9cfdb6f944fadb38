"""A mirror on a starved machine: four processes burn the processors, one writes and syncs all the time, and a client
sends both nodes datagrams as fast as it can.

`make starve` runs it for ten minutes (`MINUTES=60` for an hour) and writes build/bench/starved.json. It ends with an
exit code other than 0 when the primary changed, or a client got no answer.
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
import scale
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
FLOOD = """import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    while True:
        for address in sys.argv[1:]:
            try:
                sender.sendto(bytes(1400), (address, 9))
            except OSError:
                pass
"""
SETTLES_S = 60.0
"""After so long, or a quarter of the time, the daemons have all the memory that they need."""


@contextmanager
def load(made: Cluster, burners: int) -> Iterator[None]:
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        programs = [[BURN]] * burners + [[WRITE, file.name]]
        for program in programs:
            process = subprocess.Popen([sys.executable, "-c", *program])
            stack.callback(process.wait)
            stack.callback(process.kill)
        flood = made.lab.client().start([sys.executable, "-c", FLOOD, *(node.address() for node in made.nodes)])
        stack.callback(flood.kill)
        yield


def decisions(made: Cluster) -> list[str]:
    """What the nodes decided, in one list."""
    return [
        entry["type"]
        for node in made.nodes
        for entry in json.loads(made.safekit(node, "log", "-n", "5000", "-o", "json", timeout_s=300.0).stdout)
        if entry["kind"] == "decision"
    ]


def memory_kb(made: Cluster) -> list[int]:
    """Of each node's safekitd."""
    return [scale.look(node, "safekit.daemon").own_kb for node in made.nodes]


def starve(seconds: float, burners: int = BURNERS) -> list[Figure]:
    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_apache_mirror(made)
        primary = made.primary()
        before = decisions(made)
        with load(made, burners), made.lab.probe(f"http://{VIP}/", interval_s=0.1, timeout_s=2.0) as probe:
            settles_s = min(seconds / 4, SETTLES_S)
            time.sleep(settles_s)
            had = memory_kb(made)
            time.sleep(seconds - settles_s)
            has = memory_kb(made)
        summary = probe.result().summary
        new = decisions(made)[len(before) :]
        moved = int(made.primary() is not primary) + sum(name in ("takeover", "two-primaries") for name in new)
        runs = max(1, round(seconds / 60))
        pairs = list(zip(had, has, strict=True))
    return [
        Figure("starved.false_failovers", moved, "", runs),
        Figure("starved.peers_lost", new.count("peer-lost"), "", runs),
        Figure("starved.own_sleeps", new.count("own-sleep"), "", runs),
        Figure("starved.requests", summary.requests, "", runs),
        Figure("starved.unanswered", summary.failed, "", runs),
        Figure("starved.daemon_memory", round(max(has) / 1024, 1), "MiB", runs),
        Figure("starved.daemon_memory_growth", round(max(b - a for a, b in pairs) / 1024, 1), "MiB", runs),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--burners", type=int, default=BURNERS)
    asked = parser.parse_args()
    found = starve(asked.minutes * 60, asked.burners)
    path = write("starved", found)
    for figure in found:
        print(f"{figure.name}: {figure.value:g}")
    print(f"written to {path}")
    by_name = {figure.name: figure.value for figure in found}
    return 1 if by_name["starved.false_failovers"] or by_name["starved.unanswered"] else 0


if __name__ == "__main__":
    sys.exit(main())
