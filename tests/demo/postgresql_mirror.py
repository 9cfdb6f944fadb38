"""PostgreSQL on two nodes of the lab: its primary loses power, comes back, is swapped in.

A client commits numbers through the virtual address all the time. `make demo` runs it. It ends with an exit code other
than 0 when a number that was acknowledged is missing on either side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import ledger
import postgresql_lab
from lab_cluster import VIP
from ledger import DIRECTORY, Disks
from telling import Told, chapter, perform


def show(made: Told, disks: Disks) -> list[str]:
    first, second = made.nodes
    chapter("Two machines become a cluster")
    made.form()
    chapter(f"A database in {DIRECTORY}, as it always was, on {first.name} only")
    for node in made.nodes:
        disks.mount(made, node)
    postgresql_lab.make_database(made, first)
    chapter("It becomes a mirror: the directory is taken over in place, and filled on the other node")
    postgresql_lab.add_mirror(made)
    made.safekit(first, "rfs", "status", "web")
    failures: list[str] = []

    chapter(f"{first.name} is powered off while a client commits through {VIP}")
    failures += under_load(made, lambda: made.follow_crash(first, second))
    made.safekit(second, "why", "web")

    chapter(f"{first.name} comes back: only what differs is copied, and the database goes on meanwhile")
    first.boot()
    disks.mount(made, first)
    made.safekit(first, "daemon", "start")
    made.wait_state(first, "web", "SECOND/Ready")
    made.wait(lambda: postgresql_lab.is_paired(second), f"{first.name} has everything", 60.0)
    made.safekit(second, "rfs", "status", "web")

    chapter(f"{first.name} is swapped in again")
    failures += under_load(made, lambda: made.swap(first))
    made.safekit(first, "status")
    return failures


def under_load(made: Told, event: Callable[[], None]) -> list[str]:
    acknowledged, there = postgresql_lab.under_load(made, event)
    print(f"\n   the client: {len(acknowledged)} transactions acknowledged; {len(there)} are there")
    lost = sorted(acknowledged - there)
    return [f"{len(lost)} acknowledged transactions are lost: {lost[:10]}"] if lost else []


if __name__ == "__main__":
    with ledger.disks() as made_disks:
        sys.exit(perform(2, lambda made: show(made, made_disks), binds=[made_disks.bind]))
