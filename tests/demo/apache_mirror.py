"""A highly available Apache on two nodes of the lab, and a crash of its primary, as the client sees it.

`make demo` runs it. It ends with an exit code other than 0 when what it shows does not hold.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import lab_cluster
from lab_cluster import VIP, Cluster
from telling import chapter, perform

from safekit_lab.probe.run import Result

OUTAGE_MS = 5000.0
"""A demo whose client waits longer than this has not shown a fail-over."""


def show(made: Cluster) -> list[str]:
    chapter("Two machines become a cluster")
    made.form()
    chapter("A highly available Apache")
    lab_cluster.add_apache_mirror(made)
    first, second = made.nodes
    made.safekit(first, "status")
    primary, survivor = (first, second) if made.primary() is first else (second, first)

    chapter(f"{primary.name} is powered off while a client asks http://{VIP}/ a hundred times a second")
    crash = outage(made, lambda: made.follow_crash(primary, survivor))
    made.safekit(survivor, "status")
    made.safekit(survivor, "why", "web")
    failures = judge(crash, "the crash", [primary.name, survivor.name])

    chapter(f"{primary.name} comes back, and is swapped in again in an orderly way")
    primary.boot()
    made.safekit(primary, "daemon", "start")
    made.wait_state(primary, "web", "SECOND/Ready")
    swap = outage(made, lambda: made.swap(primary))
    made.safekit(survivor, "status")
    failures += judge(swap, "the swap", [survivor.name, primary.name])

    chapter(f"Apache is killed on {primary.name}")
    death = outage(made, lambda: made.kill_apache(primary))
    made.safekit(primary, "why", "web")
    return failures + judge(death, "the death of Apache", [primary.name])


def outage(made: Cluster, event: lab_cluster.Event) -> Result:
    """What the client saw from a second before the event until a second after all is well again."""
    with made.lab.probe(f"http://{VIP}/") as probe:
        time.sleep(1.0)
        event()
        time.sleep(1.0)
    return probe.result()


def judge(result: Result, what: str, servers: Sequence[str]) -> list[str]:
    """Print the client's view, and return what does not hold of it."""
    seen = result.summary
    served = [name for name in dict.fromkeys(record.server for record in result.records if record.ok) if name]
    print(f"\n   the client: {seen.requests} requests, {seen.failed} without an answer {seen.errors or ''}")
    print(f"   served by {', then '.join(served)}; longest time without a good answer: {seen.longest_gap_ms:.0f} ms")
    failures = []
    if served != list(servers):
        failures.append(f"{what}: served by {served}, and it should have been {list(servers)}")
    if seen.longest_gap_ms > OUTAGE_MS:
        failures.append(f"{what}: {seen.longest_gap_ms:.0f} ms without a good answer")
    if len(result.records) == 0 or not result.records[-1].ok:
        failures.append(f"{what}: no good answer at the end")
    return failures


if __name__ == "__main__":
    sys.exit(perform(2, show))
