"""Apache on three nodes of the lab that share one address, and a crash of one of them under load.

`make demo` runs it first. It ends with an exit code other than 0 when what it shows does not hold.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import farm_clients
import lab_cluster
from farm_clients import Asked
from lab_cluster import VIP
from telling import Told, chapter, perform

from safekit_lab.node import Node
from safekit_lab.process import Process

CLIENTS = [f"10.77.0.{number}" for number in range(110, 170)]
PACE_S = 0.1
SLOW_S = 0.5
"""An answer that took longer was asked for again by the client's TCP, because its server was gone."""


def show(made: Told) -> list[str]:
    chapter("Three machines become a cluster")
    made.form()
    chapter("Apache on all three, behind one address, each client always at the same server")
    lab_cluster.add_apache_farm(made, "--vip", f"{VIP}/24", "--sticky")
    for client in CLIENTS:
        made.lab.client().run(["ip", "address", "add", f"{client}/24", "dev", "eth0"])
    return crash(made) + maintenance(made)


def crash(made: Told) -> list[str]:
    first = made.nodes[0]
    director = made.farm(first)["director"]
    gone = next(node for node in made.nodes if node.name != director)
    chapter(f"{gone.name} is powered off while {len(CLIENTS)} clients ask http://{VIP}/ ten times a second each")
    asking = begin(made)
    time.sleep(1.5)
    survivor = next(node for node in made.nodes if node is not gone)
    made.safekit(survivor, "farm", "show", "web")
    gone.crash()
    made.wait(made.shares_are_complete, "the survivors serve every bucket")
    made.safekit(survivor, "farm", "show", "web")
    made.safekit(survivor, "why", "web")
    failures = judge(end(asking), gone)

    chapter(f"{gone.name} comes back and takes its part again")
    asking = begin(made)
    gone.boot()
    made.safekit(gone, "daemon", "start")
    made.wait(made.shares_are_complete, "all three serve")
    made.safekit(first, "farm", "show", "web")
    return failures + judge(end(asking), None)


def maintenance(made: Told) -> list[str]:
    first, _, third = made.nodes
    chapter(f"{third.name} is drained for maintenance; nobody notices")
    asking = begin(made)
    made.safekit(first, "farm", "drain", third.name)
    made.safekit(first, "farm", "show", "web")
    made.safekit(first, "farm", "undrain", third.name)
    made.wait(made.shares_are_complete, "all three serve")
    return judge(end(asking), None)


def begin(made: Told) -> Process:
    return made.lab.client().start(farm_clients.program(f"http://{VIP}/", PACE_S, CLIENTS))


def end(asking: Process) -> list[Asked]:
    time.sleep(1.0)
    asking.kill(signal.SIGTERM)
    asking.wait(10.0)
    return farm_clients.records(Path(asking.stdout).read_text().splitlines())


def judge(asked: list[Asked], gone: Node | None) -> list[str]:
    """Print the clients' view, and return what does not hold of it."""
    at_first = {request.client: request.server for request in reversed(asked) if request.server}
    bereft = {client for client, server in at_first.items() if gone is not None and server == gone.name}
    theirs, others = _parted(asked, bereft)
    print(f"\n   {len(CLIENTS)} clients, {len(asked)} requests: {told(asked)}")
    failures = []
    if gone is not None:
        print(f"   the {len(bereft)} clients of {gone.name}: {told(theirs)}")
        print(f"   the {len(at_first) - len(bereft)} clients of the others: {told(others)}")
        if any(request.server == gone.name for request in list(asked)[-len(CLIENTS) :]):
            failures.append(f"{gone.name} still answers")
    if any(request.error for request in others):
        failures.append("clients of the other servers got no answer")
    if {request.client for request in asked[-3 * len(CLIENTS) :] if request.server} < set(CLIENTS):
        failures.append("not every client is served at the end")
    return failures


def _parted(asked: Iterable[Asked], bereft: set[str]) -> tuple[list[Asked], list[Asked]]:
    theirs = [request for request in asked if request.client in bereft]
    return theirs, [request for request in asked if request.client not in bereft]


def told(asked: list[Asked]) -> str:
    lost = sum(bool(request.error) for request in asked)
    slow = [request for request in asked if request.server and request.end_s - request.start_s > SLOW_S]
    served = ", ".join(
        f"{name} {count}" for name, count in sorted(Counter(r.server for r in asked if r.server).items())
    )
    longest = max((request.end_s - request.start_s for request in asked if request.server), default=0.0)
    return f"{lost} lost, {len(slow)} repeated by TCP, the longest took {longest * 1000:.0f} ms; {served}"


if __name__ == "__main__":
    sys.exit(perform(3, show))
