"""How long a client of each application has no answer: it dies, its node dies, it is moved by plan.

`make bench` runs it and writes build/bench/apps.json: half an hour; `--short`, one round of each, is half of that. A
figure is the longest time between two good answers from the deed until the client is served as before. A request begins
every 100 ms, each by a program and a connection of its own, and writes where the application has data; so 100 ms and
the time of one request are the least that can be seen. `--only` leaves the figures of the others as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import apps_lab
import figures
import lab_cluster
import ledger
import postgresql_lab
from apps_lab import KINDS, PAGES
from lab_cluster import VIP, Cluster

from safekit_lab.node import Node

ROUNDS = 3
DEEDS = ("app_death", "node_crash", "swap")
APPS = (*PAGES, "postgresql", *KINDS)
EVERY_S = 0.1
ENOUGH = 10
"""Good answers after which the client is served as before."""
SEEN = "/var/log/answers"
MANY_DEATHS = "\nmax_loops: 1000\n"
"""It dies more often here than it may be restarted within a day by default."""
CLIENT = """\
import subprocess, threading, time
slots, one = threading.BoundedSemaphore(30), threading.Lock()
def ask(number, seen):
    asked = [word.replace("NUMBER", str(number)) for word in {argv!r}]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=3, env={{"PATH": "/usr/bin:/bin"}})
        good = done.returncode == 0 and done.stdout.strip() in [one.replace("NUMBER", str(number)) for one in {good!r}]
    except subprocess.TimeoutExpired:
        good = False
    with one:
        if good:
            print(time.monotonic(), file=seen)
    slots.release()
with open({seen!r}, "a", 1) as seen:
    number = 0
    while True:
        number += 1
        slots.acquire()
        threading.Thread(target=ask, args=(number, seen)).start()
        time.sleep({every_s})
"""
INSERT = ["psql", "-h", VIP, "-U", "postgres", "-qtAc", "insert into numbers values (NUMBER) returning number"]


@dataclass(frozen=True)
class Contender:
    made: Cluster
    mount: Callable[[Node], None]
    """What a node needs after each boot."""
    processes: Sequence[str]
    """Options of `pgrep` that find those of the application."""
    has_data: bool

    def wait_well(self) -> tuple[Node, Node]:
        primary, secondary = self.made.roles()
        if self.has_data:
            self.made.wait(lambda: postgresql_lab.is_paired(primary), "the secondary has everything", 90.0)
        return primary, secondary

    def do(self, deed: str, primary: Node, secondary: Node) -> Callable[[], None]:
        """What repairs it afterwards is returned."""
        if deed == "app_death":
            apps_lab.kill_processes(primary, *self.processes)
        elif deed == "swap":
            self.made.safekit(secondary, "module", "swap", "web")
        else:
            primary.crash()
            return lambda: self._boot(primary)
        return lambda: None

    def _boot(self, node: Node) -> None:
        node.boot()
        self.mount(node)
        self.made.safekit(node, "daemon", "start")


def good_answers(made: Cluster) -> list[float]:
    return sorted(map(float, made.lab.client().run(["cat", SEEN], check=False).stdout.split()))


def longest_ms(good: Sequence[float], at_s: float) -> float:
    """Without an answer, from the last one before the deed on."""
    before = [end_s for end_s in good if end_s < at_s][-1:]
    after = [end_s for end_s in good if end_s >= at_s]
    return max(later - earlier for earlier, later in pairwise([*before, *after])) * 1000


def run(contender: Contender, deed: str) -> float:
    made = contender.made
    primary, secondary = contender.wait_well()
    at_s = time.monotonic()
    repair = contender.do(deed, primary, secondary)
    time.sleep(1.0 if deed == "app_death" else 0.0)  # answers that were under way are no sign of a recovery
    began_s = time.monotonic()
    made.wait(lambda: sum(end_s > began_s for end_s in good_answers(made)) >= ENOUGH, "the client is served", 120.0)
    found = longest_ms(good_answers(made), at_s)
    repair()
    return found


@contextmanager
def contenders(app: str) -> Iterator[tuple[Contender, list[str], list[str]]]:
    """With the words of its client, and its good answers."""
    with ledger.disks() as disks, lab_cluster.cluster(binds=[disks.bind]) as made:
        for node in made.nodes:
            disks.mount(made, node)
        nodes = [node.name for node in made.nodes]
        if app in PAGES:
            apps_lab.add_pages(made, app)
            found = Contender(made, lambda node: apps_lab.serve_behind(made, node), ("-x", PAGES[app]), has_data=False)
            words, good = ["curl", "-s", "-m", "2", f"http://{VIP}/"], nodes
        elif app == "postgresql":
            postgresql_lab.make_database(made, made.nodes[0])
            postgresql_lab.add_mirror(made)
            found = Contender(made, lambda node: disks.mount(made, node), ("-o", "-x", "postgres"), has_data=True)
            words, good = INSERT, ["NUMBER"]
        else:
            kind = KINDS[app]
            kind.make(made)
            apps_lab.add(made, kind)
            found = Contender(made, lambda node: disks.mount(made, node), ("-f", kind.process), has_data=True)
            words, good = kind.writes, [kind.answer]
        lab_cluster.change_file(made, made.nodes[0], lambda text: text + MANY_DEATHS)
        yield found, words, good


def measure(app: str, rounds: int) -> list[figures.Figure]:
    runs: dict[str, list[float]] = {deed: [] for deed in DEEDS}
    with contenders(app) as (contender, words, good):
        made, client = contender.made, contender.made.lab.client()
        made.write(client, "/opt/client.py", CLIENT.format(argv=words, good=good, seen=SEEN, every_s=EVERY_S))
        asking = client.start([sys.executable, "/opt/client.py"])
        made.wait(lambda: len(good_answers(made)) >= ENOUGH, "the client is served", 30.0)
        for _ in range(rounds):
            for deed in DEEDS:
                runs[deed].append(run(contender, deed))
        asking.kill()
        asking.wait(10.0)
    for deed, values in runs.items():
        print(f"{app}: {deed}: {' '.join(f'{value:.0f}' for value in values)} ms", flush=True)
    return [figure for deed, values in runs.items() for figure in figures.figures(f"{app}_{deed}", values, {})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one round of each")
    parser.add_argument("--only", nargs="*", choices=APPS, default=APPS, help="these applications")
    asked = parser.parse_args()
    measured = []
    for app in asked.only:
        found = measure(app, 1 if asked.short else ROUNDS)
        figures.keep("apps", found)  # after each, as the next may fail
        measured += found
    print(f"\n{figures.table(measured)}\n\nwritten to {figures.PLACE / 'apps.json'}", flush=True)


if __name__ == "__main__":
    main()
