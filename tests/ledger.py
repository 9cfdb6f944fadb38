"""A service that keeps numbers in an SQLite database in a replicated directory, and what its clients were told.

A number is acknowledged after its transaction was committed; `all` is answered with those that are there, as
`1-5,7-9`. Each node has a disk of its own, which outlives its power.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab_cluster import Cluster
from recorder import PORT

from safekit_lab import Bind
from safekit_lab.node import Node

FILE = "/opt/ledger.py"
DIRECTORY = "/srv/data"
"""The replicated one, on every node."""
_DISKS = "/srv/disks"
DATABASE = "numbers.db"
PROGRAM = f"""\
import socketserver, sqlite3, threading
database = sqlite3.connect("{DIRECTORY}/{DATABASE}", check_same_thread=False, isolation_level=None)
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
one = threading.Lock()
def spans(numbers):
    begin = last = None
    for number in numbers:
        if begin is not None and number > last + 1:
            yield f"{{begin}}-{{last}}"
            begin = None
        begin, last = number if begin is None else begin, number
    if begin is not None:
        yield f"{{begin}}-{{last}}"
class Client(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline(64):
            if line == b"all\\n":
                with one:
                    numbers = [number for (number,) in database.execute("SELECT number FROM numbers ORDER BY number")]
                self.wfile.write((",".join(spans(numbers)) + "\\n").encode())
                continue
            with one:
                database.execute("INSERT OR REPLACE INTO numbers VALUES (?)", (int(line),))
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("", {PORT}), Client).serve_forever()
"""
STEPS = f"""\
  - rfs: {{directory: {DIRECTORY}}}
  - service: {{name: ledger, command: ["{sys.executable}", {FILE}]}}
"""


@dataclass(frozen=True, slots=True)
class Disks:
    """One directory of this machine for each node."""

    place: Path

    @property
    def bind(self) -> Bind:
        return Bind(source=self.place, target=Path(_DISKS), writable=True)

    def mount(self, made: Cluster, node: Node) -> None:
        """After each boot."""
        (self.place / node.name).mkdir(exist_ok=True)
        node.run(["mkdir", "-p", DIRECTORY])
        node.run(["mount", "--bind", f"{_DISKS}/{node.name}", DIRECTORY])
        made.write(node, FILE, PROGRAM)

    def numbers(self, node: Node) -> set[int]:
        """What is in the node's database, while nothing runs there that writes."""
        with closing(sqlite3.connect(self.place / node.name / DATABASE)) as database:
            return {number for (number,) in database.execute("SELECT number FROM numbers")}

    def files(self, node: Node) -> dict[str, bytes]:
        root = self.place / node.name
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {str(p.relative_to(root)): p.read_bytes() for p in found if ".safekit-rfs" not in p.parts}


@contextmanager
def disks() -> Iterator[Disks]:
    """Below /var/tmp: file handles and fsync are those of a real file system."""
    with tempfile.TemporaryDirectory(prefix="disks-", dir="/var/tmp") as folder:
        yield Disks(Path(folder))
