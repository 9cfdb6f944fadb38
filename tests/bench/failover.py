"""How long a client sees no answer after a fault of the primary, beside keepalived on the same lab in the same run.

`make bench` runs it and writes build/bench/failover.json. A figure is the time from the fault to the first good
answer after it: a probe asks every 10 ms, each request on a connection of its own. `--only takeover` measures the
power-off of a primary with each way to decide who may run, and leaves the other figures in the file as they are.
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
import power_switch
from keepalived import Keepalived
from lab_cluster import VIP, Cluster, Witness

from safekit_lab import Lab
from safekit_lab.node import Node
from safekit_lab.probe.record import Record

RUNS = 10
FAULTS = ("node_crash", "freeze", "cut", "app_death")
TAKEOVER = "takeover"
TAKEOVER_RUNS = 3
DECIDERS = ("availability", "lease", "etcd", "ping", "fence")
TUNED = "_tuned"
TUNED_LEASE = "lease: 2s, timeout: 500ms"
LEAST_LEASE = "lease: 4s"
"""Of the ping witness, whose own default is too short for the usual loss time."""
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
    def __init__(
        self, lab: Lab, change: Callable[[str], str] = str, prepare: Callable[[Cluster], None] | None = None
    ) -> None:
        self.lab = lab
        self.made = Cluster(lab)
        self.made.form()
        if prepare is not None:
            prepare(self.made)
        lab_cluster.add_apache_mirror(self.made, change=lambda text: change(text) + MANY_DEATHS)

    def primary(self) -> Node | None:
        return self.made.primary()

    def wait_well(self) -> None:
        self.made.wait(self.made.is_well, "all is well", 60.0)

    def wait_taken_over(self, survivor: Node) -> None:
        self.made.wait_state(survivor, "web", "ALONE/Ready", "PRIM/Ready")

    def crash(self, node: Node) -> Callable[[], None]:
        node.crash()
        return lambda: self.made.boot(node)

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


def set_up_decider(decider: str, made: Cluster) -> None:
    third = made.lab.client("client2")
    if decider == "lease":
        Witness(made, third).set_up()
    elif decider == "etcd":
        url = f"http://{third.address()}:2379"
        clients = ("--listen-client-urls", url, "--advertise-client-urls", url)
        third.start(["etcd", "--data-dir", "/var/lib/etcd-bench", *clients])
        health = ["curl", "--silent", "--fail", "--max-time", "2", f"{url}/health"]
        made.wait(lambda: third.run(health, check=False).returncode == 0, "etcd serves")


def with_decider(decider: str, lab: Lab, text: str, *, tuned: bool) -> str:
    """The module file of an Apache with it."""
    third, lease = lab.client("client2").address(), f", {TUNED_LEASE}" if tuned else ""
    least = lease or f", {LEAST_LEASE}"
    witnesses = {
        "lease": f'lease: {{token: "file:{Witness.TOKEN}"{lease}}}',
        "etcd": f"etcd: {{endpoints: ['http://{third}:2379']{lease}}}",
        "ping": f"ping: {{hosts: [{third}]{least}}}",
    }
    text = lab_cluster.tuned(text) if tuned else text
    if decider == "fence":
        text = text.replace("isolation: availability", "isolation: safety")
        return text.replace("pipeline:\n", f"pipeline:\n  - {power_switch.STEP}\n")
    return f"{text}\nwitness:\n  {witnesses[decider]}\n" if decider in witnesses else text


def measure_takeover(decider: str, runs: int, *, tuned: bool) -> list[float]:
    with power_switch.power_switch() as switch, Lab.up(nodes=2, clients=2, binds=[switch.bind]) as lab:
        power_switch.connect(switch, lab)
        change = partial(with_decider, decider, lab, tuned=tuned)
        contender = Safekit(lab, change, partial(set_up_decider, decider))
        found = [run(contender, "node_crash") for _ in range(runs)]
    print(f"{decider}{TUNED if tuned else ''}: {' '.join(f'{value:.0f}' for value in found)} ms", flush=True)
    return found


def measure_takeovers(decider: str, runs: int) -> list[figures.Figure]:
    found = []
    for tuned in (False, True):
        name = f"{TAKEOVER}_{decider}{TUNED if tuned else ''}"
        found += figures.figures(name, measure_takeover(decider, runs, tuned=tuned), {})
    return found


def measure_faults(faults: Sequence[str], runs: int) -> list[figures.Figure]:
    names = ("safekit", "safekit, tuned", "keepalived", "keepalived, 100 ms")
    plain, tuned, usual, quick = (measure(name, faults, runs) for name in names)
    found = []
    for fault in faults:
        peers: dict[str, Sequence[float]] = {"keepalived": usual[fault], "keepalived, 100 ms": quick[fault]}
        found += figures.figures(fault, plain[fault], peers)
        found += figures.figures(fault + TUNED, tuned[fault], peers)
    return found


def keep(found: Sequence[figures.Figure]) -> None:
    print(f"\n{figures.table(found)}\n\nwritten to {figures.keep('failover', found)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each fault (default {RUNS})")
    parser.add_argument("--takeover-runs", type=int, default=TAKEOVER_RUNS, help=f"(default {TAKEOVER_RUNS})")
    choices = (*FAULTS, TAKEOVER)
    parser.add_argument("--only", nargs="*", choices=choices, default=choices, help="these faults")
    parser.add_argument("--deciders", nargs="*", choices=DECIDERS, default=DECIDERS, help="of a take-over")
    asked = parser.parse_args()
    if faults := [fault for fault in asked.only if fault != TAKEOVER]:
        keep(measure_faults(faults, asked.runs))
    for decider in asked.deciders if TAKEOVER in asked.only else ():
        keep(measure_takeovers(decider, asked.takeover_runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
