"""A service that must not run twice, its client, and its auditor.

It works in a directory that both nodes see, as a disk that they share. There it writes the machine's monotonic clock to
a file of its node a hundred times a second, as long as it runs. All nodes of a lab share that clock, so the files tell
whether two nodes ran it at one time.

It also takes numbers from a client and appends each to a journal before it acknowledges it. It refuses a second writer,
by a lock that the kernel drops when the process ends, and each line says which process wrote it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from safekit_lab import Bind
from safekit_lab.node import Node

FILE = "/opt/recorder.py"
STEP_S = 0.01
GAP_S = 0.2
"""A longer silence is a time in which it did not run."""
PORT = 4700
_SEEN = Path("/srv/shared")
"""Where the nodes see the shared disk."""
STEP = f'service: {{name: recorder, command: ["{sys.executable}", {FILE}]}}'

PROGRAM = f"""\
import fcntl, os, socketserver, sys, threading, time
me = f"{{os.uname().nodename}}:{{time.monotonic():.3f}}"
journal = open("{_SEEN}/journal", "ab", 0)
try:
    fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    with open("{_SEEN}/refused", "a") as refused:
        print(me, file=refused)
    sys.exit("there is another writer")
class Client(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline(64):
            journal.write(f"{{me}} {{int(line)}}\\n".encode())
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
threading.Thread(target=Server(("", {PORT}), Client).serve_forever, daemon=True).start()
log = open(f"{_SEEN}/clock.{{os.uname().nodename}}", "a", 1)
while True:
    log.write(f"{{time.monotonic():.3f}}\\n")
    time.sleep({STEP_S})
"""

ACKNOWLEDGED = "/var/log/acknowledged"
"""On the client: the numbers whose acknowledgement it got."""
PACE_S = 0.02
CLIENT = f"""\
import socket, sys, time
number, connection = 0, None
with open("{ACKNOWLEDGED}", "a", 1) as acknowledged:
    while True:
        number += 1
        try:
            if connection is None:
                connection = socket.create_connection((sys.argv[1], {PORT}), timeout=0.3)
                answers = connection.makefile()
            connection.sendall(f"{{number}}\\n".encode())
            if answers.readline() != f"{{number}}\\n":
                raise ConnectionError
            print(number, file=acknowledged)
        except (OSError, ValueError):
            if connection is not None:
                connection.close()
            connection = None
        time.sleep({PACE_S})
"""


@dataclass(frozen=True, slots=True)
class SharedDisk:
    place: Path

    @property
    def bind(self) -> Bind:
        return Bind(source=self.place, target=_SEEN, writable=True)

    def read(self, name: str) -> str:
        path = self.place / name
        return path.read_text() if path.exists() else ""

    def clocks(self) -> dict[str, str]:
        """When each node ran it."""
        return {path.suffix[1:]: path.read_text() for path in self.place.glob("clock.*")}


@contextmanager
def shared_disk() -> Iterator[SharedDisk]:
    with tempfile.TemporaryDirectory(prefix="shared-") as folder:
        yield SharedDisk(Path(folder))


def acknowledged(client: Node) -> list[str]:
    """The last line may be half of one: it counts only when it is ended."""
    text = client.run(["cat", ACKNOWLEDGED], check=False).stdout
    return text[: text.rfind("\n") + 1].split()


def faults(disk: SharedDisk, client: Node) -> list[str]:
    """All that should not be."""
    asked = acknowledged(client)
    refused = [f"a second writer was refused: {each}" for each in disk.read("refused").splitlines()]
    return [*overlaps(disk.clocks()), *refused, *journal_faults(disk.read("journal").splitlines(), asked)]


def journal_faults(journal: Iterable[str], acknowledged: Iterable[str]) -> Iterator[str]:
    """Of lines `WRITER NUMBER`: acknowledged ones that are not there, writers that wrote after another had begun."""
    entries = [(words[0], words[-1]) for line in journal if (words := line.split())]
    there = {number for _, number in entries}
    yield from (f"{number} was acknowledged and is not there" for number in acknowledged if number not in there)
    turns = Counter(writer for writer, _ in groupby(writer for writer, _ in entries))
    yield from (f"{writer} wrote again after another had begun" for writer, count in turns.items() if count > 1)


def spans(text: str) -> list[tuple[float, float]]:
    """When it ran, from a file's content. A last line that a crash cut off is left out."""
    found: list[tuple[float, float]] = []
    for line in text.splitlines():
        try:
            at_s = float(line)
        except ValueError:
            continue
        if found and at_s - found[-1][1] < GAP_S:
            found[-1] = (found[-1][0], at_s)
        else:
            found.append((at_s, at_s))
    return found


def overlaps(logs: Mapping[str, str]) -> list[str]:
    """The times at which two nodes ran it."""
    ran = sorted((*span, node) for node, text in logs.items() for span in spans(text))
    return list(_twice(ran))


def _twice(ran: Iterable[tuple[float, float, str]]) -> Iterable[str]:
    last_end_s, last_node = float("-inf"), ""
    for start_s, end_s, node in ran:
        if node != last_node and start_s <= last_end_s:
            yield f"{last_node} until {last_end_s:.3f}, {node} from {start_s:.3f}"
        if end_s > last_end_s:
            last_end_s, last_node = end_s, node
