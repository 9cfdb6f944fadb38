"""A mirror with replicated data and a lease witness, a farm, real clients of both, and faults at random.

What a client was told must be there whenever all has come to rest, two nodes must never run the mirror, and every
client of the farm must be served again. `Soak` plays rounds; `violations` says what was wrong, and `journals` keeps
what the nodes remember.
"""

from __future__ import annotations

import base64
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import lab_cluster
import ledger
import recorder
from lab_cluster import VIP, Cluster, Witness
from ledger import Disks
from recorder import SharedDisk

from safekit_lab import LabError
from safekit_lab.node import Node

MIRROR = "ledger"
FARM = "web"
FARM_VIP = "10.77.0.101"
CLIENTS = tuple(f"10.77.0.{number}" for number in range(120, 130))
WAKES_S = 2.0
"""A machine that slept past its lease runs for so long at most after it woke: the time in which its engine, which slept
as well, stops by force what it finds. With a hardware watchdog it would have been reset."""
REST_S = 120.0
CLOCK = "/opt/clock.py"
CLOCK_PROGRAM = f"""\
import os, time
log = open(f"/srv/shared/clock.{{os.uname().nodename}}", "a", 1)
while True:
    log.write(f"{{time.monotonic():.3f}}\\n")
    time.sleep({recorder.STEP_S})
"""
MODULE = f"""\
kind: mirror
nodes: [NODES]
loop_interval: 0s
heartbeat: {{interval: 50ms, lost_after: 800ms}}
witness:
  lease: {{token: "file:{Witness.TOKEN}", lease: 5s, timeout: 500ms}}
pipeline:
{ledger.STEPS}
  - service: {{name: clock, command: ["{sys.executable}", {CLOCK}]}}
  - vip: {{address: {VIP}/24}}
"""
ASK = """\
import http.client, sys
for client in sys.argv[2:]:
    connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=2, source_address=(client, 0))
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
"""
READ = f"""\
import socket, sys
with socket.create_connection((sys.argv[1], {recorder.PORT}), timeout=30) as there:
    there.sendall(b"all\\n")
    print(there.makefile().readline(), end="")
"""


class Soak:
    def __init__(self, made: Cluster, disks: Disks, shared: SharedDisk, rng: random.Random) -> None:
        self.made = made
        self.pair = made.nodes[:2]
        self.rounds = 0
        self.history: list[str] = []
        """What was done, with the monotonic second."""
        self.woken: list[tuple[str, float]] = []
        self.third, self.client = made.lab.clients
        self.witness = Witness(made, self.third)
        self._disks = disks
        self._shared = shared
        self._rng = rng

    # -- what runs

    def set_up(self) -> None:
        self.witness.set_up()
        for node in self.pair:
            self._equip(node)
        first, second = self.pair
        text = MODULE.replace("NODES", f"{first.name}, {second.name}")
        self.made.write(first, f"/etc/safekit/modules/{MIRROR}/module.yaml", text)
        self.made.safekit(first, "apply", MIRROR)
        self.made.safekit(first, "module", "prim", MIRROR, "--force")
        self.made.safekit(second, "module", "start", MIRROR)
        lab_cluster.add_apache_farm(self.made, "--vip", f"{FARM_VIP}/24")
        for client in CLIENTS:
            self.client.run(["ip", "address", "add", f"{client}/24", "dev", "eth0"])
        self.made.write(self.client, recorder.FILE, recorder.CLIENT)
        self.client.start([sys.executable, recorder.FILE, VIP])
        self.rest()

    def _equip(self, node: Node) -> None:
        self._disks.mount(self.made, node)
        self.made.write(node, CLOCK, CLOCK_PROGRAM)

    # -- what happens

    def play(self) -> None:
        """One fault, or two at a time, of which the second comes while the first lasts."""
        self.rounds += 1
        first = self._begin()
        second = self._begin() if self._rng.random() < 0.25 else None
        self._a_while(4.0)
        for undo in (second, first):
            if undo is not None:
                undo()
        self._a_while(2.0)

    def _begin(self) -> Callable[[], None]:
        node = self._rng.choice(self.made.nodes)
        kinds: Sequence[Callable[[Node], Callable[[], None]]] = (
            self._crash, self._cut, self._freeze, self._kill_daemon, self._kill_host, self._kill_data_path,
            self._kill_application, self._swap, self._lose_witness,
        )  # fmt: skip
        deed = self._rng.choice(kinds)
        self.history.append(f"{time.monotonic():.3f} {deed.__name__.strip('_')} {node.name}")
        with suppress(LabError):  # it is down already
            return deed(node)
        return lambda: None

    def _a_while(self, most_s: float) -> None:
        time.sleep(self._rng.uniform(0.05, most_s))

    def _crash(self, node: Node) -> Callable[[], None]:
        node.crash()
        return lambda: self._power_on(node)

    def _power_on(self, node: Node) -> None:
        if node.state != "crashed":
            return
        node.boot()
        if node in self.pair:
            self._equip(node)
        self.made.safekit(node, "daemon", "start", ok=False)

    def _cut(self, node: Node) -> Callable[[], None]:
        others = [None, *(other for other in self.made.nodes if other is not node)]
        node.cut(to=self._rng.choice(others), direction=self._rng.choice(("in", "out", "both")))
        return node.heal

    def _freeze(self, node: Node) -> Callable[[], None]:
        node.freeze(deep=True)
        return lambda: self._thaw(node)

    def _thaw(self, node: Node) -> None:
        if node.state == "frozen":
            self.woken.append((node.name, time.monotonic()))
            node.thaw()

    def _kill_daemon(self, node: Node) -> Callable[[], None]:
        pid = node.run(["cat", "/run/safekit/safekitd.lock"], check=False).stdout.strip()
        node.run(["kill", "-9", pid], check=False)

        def start() -> None:
            with suppress(LabError):
                self.made.safekit(node, "daemon", "start", ok=False)

        return start

    def _kill(self, node: Node, pattern: str) -> Callable[[], None]:
        found = node.run(["pgrep", "-f", pattern], check=False).stdout.split()
        if found:
            node.run(["kill", "-9", self._rng.choice(found)], check=False)
        return lambda: None

    def _kill_host(self, node: Node) -> Callable[[], None]:
        return self._kill(node, "safekit[.]host")

    def _kill_data_path(self, node: Node) -> Callable[[], None]:
        return self._kill(node, "safekit_resource_rfs[.]datapath")

    def _kill_application(self, node: Node) -> Callable[[], None]:
        return self._kill(node, self._rng.choice(("opt/ledger[.]py", "apache2")))

    def _swap(self, node: Node) -> Callable[[], None]:
        self.made.safekit(node, "module", "swap", MIRROR, "--no-wait", ok=False)
        return lambda: None

    def _lose_witness(self, node: Node) -> Callable[[], None]:
        del node
        if self.witness.serves:
            self.witness.kill()
        return lambda: None if self.witness.serves else self.witness.serve()

    # -- what must be

    def rest(self) -> None:
        """All is well again by itself, and clients are answered. FailedError when it is not in time."""
        for node in self.made.nodes:
            self._power_on(node)
            self._thaw(node)
            node.heal()
            self.made.safekit(node, "daemon", "start", ok=False)
        if not self.witness.serves:
            self.witness.serve()
        self.made.wait(lambda: self.made.is_well(MIRROR), "one is primary, one secondary", REST_S)
        self.made.wait(self._both_up_to_date, "both have everything", REST_S)
        self.made.wait(self.made.shares_are_complete, "the farm's clients are all served", REST_S)
        self.made.wait(self._all_are_answered, "every client of the farm is answered", REST_S)
        before = len(recorder.acknowledged(self.client))
        self.made.wait(lambda: len(recorder.acknowledged(self.client)) > before, "a write is acknowledged", REST_S)

    def _both_up_to_date(self) -> bool:
        answers = self.made.statuses(self.pair[0])
        return all(_values(answers.get(node.name, {})).get("rfs.uptodate") == "up" for node in self.pair)

    def _all_are_answered(self) -> bool:
        return self.client.run(["python3", "-c", ASK, FARM_VIP, *CLIENTS], check=False).returncode == 0

    def violations(self) -> list[str]:
        """At rest: acknowledged numbers that are not there, and times at which two nodes ran the mirror."""
        acknowledged = set(map(int, recorder.acknowledged(self.client)))
        there = _numbers(self.client.run(["python3", "-c", READ, VIP]).stdout)
        missing = sorted(acknowledged - there)
        lost = [f"{len(missing)} acknowledged numbers are not there, {missing[0]} the first"] if missing else []
        return [*lost, *self._twice()]

    def _twice(self) -> Iterator[str]:
        one, other = (recorder.spans(self._shared.clocks().get(node.name, "")) for node in self.pair)
        for start_s, end_s in one:
            for begun_s, ended_s in other:
                from_s, to_s = max(start_s, begun_s), min(end_s, ended_s)
                if from_s < to_s and not self._just_woke(from_s, to_s):
                    yield f"both nodes ran the mirror from {from_s:.3f} to {to_s:.3f}"

    def _just_woke(self, from_s: float, to_s: float) -> bool:
        return any(at_s - 0.3 <= from_s and to_s <= at_s + WAKES_S for _, at_s in self.woken)

    def acknowledged(self) -> int:
        return len(recorder.acknowledged(self.client))

    def journals(self, folder: Path, name: str) -> Path:
        """What the nodes remember, as `safekit snapshot` gathers it; `safekit replay --file` reads it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.tar.gz"
        inside = f"/tmp/{name}.tar.gz"
        node = next((node for node in self.made.nodes if node.state == "running"), self.made.nodes[0])
        self.made.safekit(node, "snapshot", "--out", inside, ok=False)
        coded = node.run(["base64", "-w0", inside], check=False).stdout
        path.write_bytes(base64.b64decode(coded))
        (folder / f"{name}.txt").write_text("\n".join(self.history) + "\n")
        return path


def _values(answer: dict[str, object]) -> dict[str, str]:
    result = answer.get("result")
    modules = result["modules"] if isinstance(result, dict) else []
    return {value["resource"]: value["value"] for m in modules if m["name"] == MIRROR for value in m["values"]}


def _numbers(text: str) -> set[int]:
    """Of `1-5,7-9`."""
    spans = (part.split("-") for part in text.strip().split(",") if part)
    return {number for low, high in spans for number in range(int(low), int(high) + 1)}


@contextmanager
def soak(seed: int) -> Iterator[Soak]:
    with (
        ledger.disks() as disks,
        recorder.shared_disk() as shared,
        lab_cluster.cluster(3, clients=2, binds=[disks.bind, shared.bind]) as made,
    ):
        found = Soak(made, disks, shared, random.Random(seed))
        found.set_up()
        yield found
