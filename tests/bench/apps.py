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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import apps_lab
import figures
import lab_cluster
import ledger
from apps_lab import APPLICATIONS, Application
from lab_cluster import Cluster
from ledger import Disks

from safekit_lab.node import Node

ROUNDS = 3
DEEDS = ("app_death", "node_crash", "swap")
APPS = [name for name, app in APPLICATIONS.items() if not app.is_farm]
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


@dataclass(frozen=True, slots=True)
class Contender:
    made: Cluster
    app: Application
    disks: Disks

    def wait_well(self) -> tuple[Node, Node]:
        return apps_lab.await_well(self.made, self.app)

    def do(self, deed: str, primary: Node, secondary: Node) -> Callable[[], None]:
        """What repairs it afterwards is returned."""
        if deed == "app_death":
            apps_lab.kill_processes(primary, *self.app.process)
        elif deed == "swap":
            self.made.safekit(secondary, "module", "swap", "web")
        else:
            primary.crash()
            return lambda: apps_lab.boot(self.made, self.app, self.disks, primary)
        return lambda: None


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


def measure(name: str, rounds: int) -> list[figures.Figure]:
    app = APPLICATIONS[name]
    runs: dict[str, list[float]] = {deed: [] for deed in DEEDS}
    with ledger.disks() as disks, lab_cluster.cluster(binds=[disks.bind]) as made:
        apps_lab.prepare(made, app, disks)
        apps_lab.add(made, app)
        lab_cluster.change_file(made, made.nodes[0], lambda text: text + MANY_DEATHS)
        contender, client = Contender(made, app, disks), made.lab.client()
        program = CLIENT.format(argv=app.asks, good=app.answers, seen=SEEN, every_s=EVERY_S)
        made.write(client, "/opt/client.py", program)
        asking = client.start([sys.executable, "/opt/client.py"])
        made.wait(lambda: len(good_answers(made)) >= ENOUGH, "the client is served", 30.0)
        for _ in range(rounds):
            for deed in DEEDS:
                runs[deed].append(run(contender, deed))
        asking.kill()
        asking.wait(10.0)
    for deed, values in runs.items():
        print(f"{name}: {deed}: {' '.join(f'{value:.0f}' for value in values)} ms", flush=True)
    return [figure for deed, values in runs.items() for figure in figures.figures(f"{name}_{deed}", values, {})]


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
