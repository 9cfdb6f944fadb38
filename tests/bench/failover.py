"""How long a client sees no answer after a fault of the primary, beside keepalived on the same lab in the same run.

`make bench` runs it and writes build/bench/failover.json. A figure is the time from the fault to the first good
answer after it: a probe asks every 10 ms, each request on a connection of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import figures
import lab_cluster
from keepalived import Keepalived
from lab_cluster import VIP

from safekit_lab import Lab
from safekit_lab.node import Node
from safekit_lab.probe.record import Record

RUNS = 10
FAULTS = ("node_crash", "freeze", "cut", "app_death")
TUNED = "_tuned"
MANY_DEATHS = "\nmax_loops: 1000\n"
"""Apache dies more often here than a module may be restarted within a day by default."""


class Contender(Protocol):
    lab: Lab

    def primary(self) -> Node | None: ...
    def wait_well(self) -> None: ...
    def wait_taken_over(self, survivor: Node) -> None: ...
    def crash(self, node: Node) -> Callable[[], None]: ...
    def kill_apache(self, node: Node) -> Callable[[], None]: ...


class Safekit:
    def __init__(self, lab: Lab, change: Callable[[str], str] = str) -> None:
        self.lab = lab
        self.made = lab_cluster.Cluster(lab)
        self.made.form()
        lab_cluster.add_apache_mirror(self.made, change=lambda text: change(text) + MANY_DEATHS)

    def primary(self) -> Node | None:
        return self.made.primary()

    def wait_well(self) -> None:
        self.made.wait(self.made.is_well, "all is well", 60.0)

    def wait_taken_over(self, survivor: Node) -> None:
        self.made.wait_state(survivor, "web", "ALONE/Ready", "PRIM/Ready")

    def crash(self, node: Node) -> Callable[[], None]:
        node.crash()

        def back() -> None:
            node.boot()
            self.made.safekit(node, "daemon", "start")

        return back

    def kill_apache(self, node: Node) -> Callable[[], None]:
        self.made.kill_processes(node, "apache2")
        return lambda: None


def inject(contender: Contender, fault: str, node: Node) -> Callable[[], None]:
    """Do it to the node, and return what repairs it."""
    if fault == "node_crash":
        return contender.crash(node)
    if fault == "app_death":
        return contender.kill_apache(node)
    if fault == "freeze":
        node.freeze(deep=True)
        return node.thaw
    node.cut()
    return node.heal


def run(contender: Contender, fault: str) -> float:
    """One fault on whoever is primary: milliseconds until the client had a good answer again."""
    contender.wait_well()
    primary = contender.primary()
    if primary is None:
        raise lab_cluster.FailedError("nobody is primary")
    survivor = next(node for node in contender.lab.nodes if node is not primary)
    with contender.lab.probe(f"http://{VIP}/") as probe:
        time.sleep(0.3)
        at_s = time.monotonic()
        repair = inject(contender, fault, primary)
        if fault != "app_death":
            contender.wait_taken_over(survivor)
        time.sleep(1.5 if fault == "app_death" else 0.5)
    repair()
    return without_answer_ms(probe.result().records, at_s)


def without_answer_ms(records: Sequence[Record], at_s: float) -> float:
    """From the fault to the first good answer to a request that came after the first that failed since the fault.
    0 when none failed, infinite when no good answer came."""
    failed = [record.start_s for record in records if not record.ok and record.end_s >= at_s]
    if not failed:
        return 0.0
    good = [record.end_s for record in records if record.ok and record.start_s >= max(failed[0], at_s)]
    return (min(good) - at_s) * 1000 if good else float("inf")


@contextmanager
def contenders(name: str) -> Iterator[Contender]:
    make: dict[str, Callable[[Lab], Contender]] = {
        "safekit": Safekit,
        "safekit, tuned": partial(Safekit, change=lab_cluster.tuned),
        "keepalived": partial(Keepalived, advert_s=1.0),
        "keepalived, 100 ms": partial(Keepalived, advert_s=0.1),
    }
    with Lab.up(nodes=2, clients=1) as lab:
        yield make[name](lab)


def measure(name: str, faults: Sequence[str], runs: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with contenders(name) as contender:
        for fault in faults:
            found[fault] = [run(contender, fault) for _ in range(runs)]
            print(f"{name}: {fault}: {' '.join(f'{value:.0f}' for value in found[fault])} ms", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each fault (default {RUNS})")
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=FAULTS, help="these faults")
    asked = parser.parse_args()
    names = ("safekit", "safekit, tuned", "keepalived", "keepalived, 100 ms")
    plain, tuned, usual, quick = (measure(name, asked.only, asked.runs) for name in names)
    found = []
    for fault in asked.only:
        peers: dict[str, Sequence[float]] = {"keepalived": usual[fault], "keepalived, 100 ms": quick[fault]}
        found += figures.figures(fault, plain[fault], peers)
        found += figures.figures(fault + TUNED, tuned[fault], peers)
    path = figures.write("failover", found)
    print(f"\n{figures.table(found)}\n\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
