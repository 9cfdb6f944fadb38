"""Random faults on a module of two nodes with a lease witness, and what must hold whenever all has come to rest: what a
client was told is there, and two nodes never ran it. `Soak` plays rounds; `violations` says what was wrong, and
`journals` keeps what the nodes remember. What it is played on: soaking_files.py and soaking_guests.py.
"""

from __future__ import annotations

import base64
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import recorder
from lab_cluster import Cluster, Witness
from recorder import SharedDisk

from safekit_lab import LabError
from safekit_lab.node import Node

Undo = Callable[[], None]
Deed = Callable[[Node], Undo]
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
CLOCK_STEP = f'service: {{name: clock, command: ["{sys.executable}", {CLOCK}]}}'
"""Of the module: it tells when it ran, and where."""
LEASE = f'lease: {{token: "file:{Witness.TOKEN}", lease: 5s, timeout: 500ms}}'


class Soak(ABC):
    module: str
    application: Sequence[str]
    """Of the processes that may be killed, patterns of their command lines."""

    def __init__(self, made: Cluster, shared: SharedDisk, rng: random.Random) -> None:
        self.made = made
        self.pair = made.nodes[:2]
        self.rounds = 0
        self.history: list[str] = []
        """What was done, with the monotonic second."""
        self.woken: list[tuple[str, float]] = []
        self.third, self.client = made.lab.clients
        self.witness = Witness(made, self.third)
        self._shared = shared
        self._rng = rng

    # -- what differs

    @abstractmethod
    def equip(self, node: Node) -> None:
        """What a node of the pair needs after each boot, before its daemon starts."""

    @abstractmethod
    def lost(self, acknowledged: Sequence[str]) -> list[str]:
        """At rest: what is wrong with the data of which a client was told so."""

    @abstractmethod
    def is_served(self) -> bool:
        """Beside the module's own well-being: whether who else has to be answered is."""

    def more(self) -> Sequence[Deed]:
        """Other faults than those that every module is played."""
        return ()

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

    def _begin(self) -> Undo:
        node = self._rng.choice(self.made.nodes)
        kinds: Sequence[Deed] = (
            self._crash, self._cut, self._freeze, self._kill_daemon, self._kill_host, self._kill_data_path,
            self._kill_application, self._swap, self._lose_witness, *self.more(),
        )  # fmt: skip
        deed = self._rng.choice(kinds)
        self.history.append(f"{time.monotonic():.3f} {deed.__name__.strip('_')} {node.name}")
        with suppress(LabError):  # it is down already
            return deed(node)
        return lambda: None

    def _a_while(self, most_s: float) -> None:
        time.sleep(self._rng.uniform(0.05, most_s))

    def _crash(self, node: Node) -> Undo:
        node.crash()
        return lambda: self._power_on(node)

    def _power_on(self, node: Node) -> None:
        if node.state != "crashed":
            return
        node.boot()
        if node in self.pair:
            self.equip(node)
        self.made.safekit(node, "daemon", "start", ok=False)

    def _cut(self, node: Node) -> Undo:
        others = [None, *(other for other in self.made.nodes if other is not node)]
        node.cut(to=self._rng.choice(others), direction=self._rng.choice(("in", "out", "both")))
        return node.heal

    def _freeze(self, node: Node) -> Undo:
        node.freeze(deep=True)
        return lambda: self._thaw(node)

    def _thaw(self, node: Node) -> None:
        if node.state == "frozen":
            self.woken.append((node.name, time.monotonic()))
            node.thaw()

    def _kill_daemon(self, node: Node) -> Undo:
        pid = node.run(["cat", "/run/safekit/safekitd.lock"], check=False).stdout.strip()
        node.run(["kill", "-9", pid], check=False)

        def start() -> None:
            with suppress(LabError):
                self.made.safekit(node, "daemon", "start", ok=False)

        return start

    def _kill(self, node: Node, pattern: str) -> Undo:
        found = node.run(["pgrep", "-f", pattern], check=False).stdout.split()
        if found:
            node.run(["kill", "-9", self._rng.choice(found)], check=False)
        return lambda: None

    def _kill_host(self, node: Node) -> Undo:
        return self._kill(node, "safekit[.]host")

    def _kill_data_path(self, node: Node) -> Undo:
        return self._kill(node, "safekit_resource_rfs[.]datapath")

    def _kill_application(self, node: Node) -> Undo:
        return self._kill(node, self._rng.choice(self.application))

    def _swap(self, node: Node) -> Undo:
        self.made.safekit(node, "module", "swap", self.module, "--no-wait", ok=False)
        return lambda: None

    def _lose_witness(self, node: Node) -> Undo:
        del node
        if self.witness.serves:
            self.witness.kill()
        return lambda: None if self.witness.serves else self.witness.serve()

    # -- what must be

    def begin(self, address: str, pace_s: float = recorder.PACE_S) -> None:
        """Have a client write numbers there from now on."""
        client = recorder.CLIENT.replace(f"sleep({recorder.PACE_S})", f"sleep({pace_s})")
        self.made.write(self.client, recorder.FILE, client)
        self.client.start([sys.executable, recorder.FILE, address])
        self.rest()

    def rest(self) -> None:
        """All is well again by itself, and clients are answered. FailedError when it is not in time."""
        for node in self.made.nodes:
            self._power_on(node)
            self._thaw(node)
            node.heal()
            self.made.safekit(node, "daemon", "start", ok=False)
        if not self.witness.serves:
            self.witness.serve()
        self.made.wait(lambda: self.made.is_well(self.module), "one is primary, one secondary", REST_S)
        self.made.wait(self._both_up_to_date, "both have everything", REST_S)
        self.made.wait(self.is_served, "all others are answered", REST_S)
        before = len(recorder.acknowledged(self.client))
        self.made.wait(lambda: len(recorder.acknowledged(self.client)) > before, "a write is acknowledged", REST_S)

    def _both_up_to_date(self) -> bool:
        answers = self.made.statuses(self.pair[0])
        values = (_values(answers.get(node.name, {}), self.module) for node in self.pair)
        return all(found.get("rfs.uptodate") == "up" for found in values)

    def violations(self) -> list[str]:
        """At rest: acknowledged numbers that are not there, and times at which two nodes ran the module."""
        return [*self.lost(recorder.acknowledged(self.client)), *self._twice()]

    def _twice(self) -> Iterator[str]:
        one, other = (recorder.spans(self._shared.clocks().get(node.name, "")) for node in self.pair)
        for start_s, end_s in one:
            for begun_s, ended_s in other:
                from_s, to_s = max(start_s, begun_s), min(end_s, ended_s)
                if from_s < to_s and not self._just_woke(from_s, to_s):
                    yield f"both nodes ran it from {from_s:.3f} to {to_s:.3f}"

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


def _values(answer: dict[str, object], module: str) -> dict[str, str]:
    result = answer.get("result")
    modules = result["modules"] if isinstance(result, dict) else []
    return {value["resource"]: value["value"] for m in modules if m["name"] == module for value in m["values"]}
