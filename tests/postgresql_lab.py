"""A PostgreSQL on two nodes of the lab whose data are replicated, and a client that keeps what it was told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import lab_cluster
from lab_cluster import VIP, Cluster
from ledger import DIRECTORY

from safekit_lab.node import Node

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"))
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
ADD = ("module", "add", "web", "--app", "postgresql", "--vip", f"{VIP}/24", "--set", f"data={DIRECTORY}")
SETTINGS = "listen_addresses = '*'\nunix_socket_directories = '/tmp'\n"
TRUSTED = "host all postgres 10.77.0.0/24 trust\nlocal all postgres trust\n"


def make_database(made: Cluster, node: Node) -> None:
    node.run(["install", "-d", "-o", "postgres", "-m", "0700", DIRECTORY])
    initdb = [f"{PROGRAMS}/initdb", "-D", DIRECTORY, "-A", "trust", "-E", "UTF8", "--locale", "C"]
    node.run(["runuser", "-u", "postgres", "--", *initdb])
    for name, text in (("postgresql.conf", SETTINGS), ("pg_hba.conf", TRUSTED)):
        made.write(node, f"{DIRECTORY}/{name}", text)
        node.run(["chown", "postgres", f"{DIRECTORY}/{name}"])


def add_mirror(made: Cluster) -> None:
    """What a user types, until the other node has everything."""
    first, second = made.nodes
    made.safekit(first, *ADD)
    lab_cluster.change_file(made, first, lambda text: f"{text}isolation: availability\n")
    made.safekit(first, "module", "prim", "web", "--force")
    made.safekit(second, "module", "start", "web")
    made.wait(lambda: select(first, "select 1") == {1}, "PostgreSQL answers", 60.0)
    select(first, "create table numbers (number int primary key)")
    made.wait(lambda: is_paired(first), "the secondary has everything", 120.0)


def is_paired(primary: Node) -> bool:
    return "paired" in primary.run([lab_cluster.SAFEKIT, "rfs", "status", "web"], check=False).stdout


def select(node: Node, query: str) -> set[int]:
    """The numbers that it answers; none when it does not."""
    done = node.run(["psql", "-h", "/tmp", "-U", "postgres", "-qtAc", query], check=False)
    return set(map(int, done.stdout.split()))


def under_load(made: Cluster, event: Callable[[], None]) -> tuple[set[int], set[int]]:
    """Commit all the time and let it happen; what was acknowledged, and what is there on the primary then."""
    client = made.lab.client()
    made.write(client, "/opt/client.py", CLIENT)
    client.run(["rm", "-f", ACKNOWLEDGED])
    primary, _ = made.roles()
    select(primary, "truncate numbers")
    asking = client.start([sys.executable, "/opt/client.py"])
    made.wait(lambda: len(told(client)) >= 20, "the client's transactions are acknowledged")
    event()
    before = len(told(client))
    made.wait(lambda: len(told(client)) >= before + 20, "the client goes on", 60.0)
    time.sleep(0.5)  # the load goes on for a while: that the loss of the last ones would be seen
    asking.kill()
    asking.wait(10.0)
    survivor = made.primary()
    assert survivor is not None
    return told(client), select(survivor, "select * from numbers")


def told(client: Node) -> set[int]:
    return set(map(int, client.run(["cat", ACKNOWLEDGED], check=False).stdout.split()))
