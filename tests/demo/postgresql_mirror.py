"""PostgreSQL in a replicated directory on two nodes of the lab: its primary loses power, comes back, is swapped in.

A client commits numbers through the virtual address all the time. `make demo` runs it. It ends with an exit code other
than 0 when a number that was acknowledged is missing on either side.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import lab_cluster
import ledger
from lab_cluster import VIP
from ledger import DIRECTORY, Disks
from telling import Told, chapter, perform

from safekit_lab.node import Node
from safekit_lab.process import Process

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"))
DATA = f"{DIRECTORY}/pg"
ACKNOWLEDGED = "/var/log/acknowledged"
CLIENT = f"""\
import subprocess
number = 0
with open("{ACKNOWLEDGED}", "a", 1) as acknowledged:
    while True:
        number += 1
        insert = f"insert into numbers values ({{number}})"
        asked = ["psql", "-h", "{VIP}", "-U", "postgres", "-qc", insert]
        done = subprocess.run(asked, env={{"PGCONNECT_TIMEOUT": "1", "PATH": "/usr/bin"}}, capture_output=True)
        if done.returncode == 0:
            print(number, file=acknowledged)
"""
MODULE = f"""\
kind: mirror
isolation: availability
pipeline:
  - rfs: {{directory: {DIRECTORY}, exclude: [postmaster.pid]}}
  - vip: {{address: {VIP}/24}}
  - service:
      name: postgresql
      command: [{PROGRAMS}/postgres, -D, {DATA}]
      stop_command: [{PROGRAMS}/pg_ctl, -D, {DATA}, -m, fast, stop]
      user: postgres
"""
SETTINGS = "listen_addresses = '*'\nunix_socket_directories = '/tmp'\n"
TRUSTED = "host all postgres 10.77.0.0/24 trust\nlocal all postgres trust\n"


def show(made: Told, disks: Disks) -> list[str]:
    first, second = made.nodes
    chapter("Two machines become a cluster")
    made.form()
    chapter(f"A database in {DIRECTORY}, as it always was, on {first.name} only")
    for node in made.nodes:
        disks.mount(made, node)
    make_database(made, first)
    chapter("It becomes a mirror: the directory is taken over in place, and filled on the other node")
    lab_cluster.add_replicated_mirror(made, MODULE)
    made.wait(lambda: count(first, "select 1") == 1, "PostgreSQL answers")
    count(first, "create table numbers (number int primary key)")
    made.wait(lambda: is_paired(first), "the secondary has everything", 120.0)
    made.safekit(first, "rfs", "status", "web")
    failures: list[str] = []

    chapter(f"{first.name} is powered off while a client commits through {VIP}")
    failures += under_load(made, second, lambda: made.follow_crash(first, second))
    made.safekit(second, "why", "web")

    chapter(f"{first.name} comes back: only what differs is copied, and the database goes on meanwhile")
    first.boot()
    disks.mount(made, first)
    made.safekit(first, "daemon", "start")
    made.wait_state(first, "web", "SECOND/Ready")
    made.wait(lambda: is_paired(second), f"{first.name} has everything", 60.0)
    made.safekit(second, "rfs", "status", "web")

    chapter(f"{first.name} is swapped in again")
    failures += under_load(made, first, lambda: made.swap(first))
    made.safekit(first, "status")
    return failures


def make_database(made: Told, node: Node) -> None:
    node.run(["install", "-d", "-o", "postgres", DATA])
    initdb = [f"{PROGRAMS}/initdb", "-D", DATA, "-A", "trust", "-E", "UTF8", "--locale", "C"]
    node.run(["runuser", "-u", "postgres", "--", *initdb])
    for name, text in (("postgresql.conf", SETTINGS), ("pg_hba.conf", TRUSTED)):
        made.write(node, f"{DATA}/{name}", text)
        node.run(["chown", "postgres", f"{DATA}/{name}"])


def is_paired(primary: Node) -> bool:
    return "paired" in primary.run([lab_cluster.SAFEKIT, "rfs", "status", "web"], check=False).stdout


def count(node: Node, query: str) -> int:
    done = node.run(["psql", "-h", "/tmp", "-U", "postgres", "-qtAc", query], check=False)
    return int(done.stdout or -1) if done.returncode == 0 else -1


def under_load(made: Told, survivor: Node, event: Callable[[], None]) -> list[str]:
    """Commit all the time, let it happen, and compare what the client was told with what is there."""
    client = made.lab.client()
    made.write(client, "/opt/client.py", CLIENT)
    client.run(["rm", "-f", ACKNOWLEDGED])
    count(made.primary() or survivor, "truncate numbers")
    asking = client.start([sys.executable, "/opt/client.py"])
    made.wait(lambda: told(client) >= 20, "the client's transactions are acknowledged")
    event()
    before = told(client)
    made.wait(lambda: told(client) >= before + 20, f"{survivor.name} goes on")
    end(asking)
    acknowledged = {int(line) for line in client.run(["cat", ACKNOWLEDGED]).stdout.split()}
    select = ["psql", "-h", "/tmp", "-U", "postgres", "-qtAc", "select * from numbers"]
    there = set(map(int, survivor.run(select).stdout.split()))
    print(f"\n   the client: {len(acknowledged)} transactions acknowledged; on {survivor.name} {len(there)} are there")
    lost = sorted(acknowledged - there)
    return [f"{len(lost)} acknowledged transactions are lost: {lost[:10]}"] if lost else []


def told(client: Node) -> int:
    return len(client.run(["cat", ACKNOWLEDGED], check=False).stdout.split())


def end(asking: Process) -> None:
    time.sleep(0.5)
    asking.kill()
    asking.wait(10.0)


if __name__ == "__main__":
    with ledger.disks() as made_disks:
        sys.exit(perform(2, lambda made: show(made, made_disks), binds=[made_disks.bind]))
