"""Random faults on real nodes, under the safe policy: the address is never on two nodes, and all comes to rest."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lab_cluster
import pytest
from lab_cluster import VIP, Cluster

from safekit_lab import LabError
from safekit_lab.node import Node

pytestmark = pytest.mark.system
SECONDS = 20.0
SEED = 20261125


def holds(node: Node) -> bool:
    try:
        return f" {VIP}/" in node.run(["ip", "-4", "address", "show", "dev", "eth0"], check=False, timeout_s=5.0).stdout
    except LabError:
        return False  # it is down


class Watch:
    """Looks at both nodes all the time, a frozen one included: what it had is still there when it wakes."""

    def __init__(self, made: Cluster) -> None:
        self._made = made
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._had: dict[str, bool] = {}
        self.looks = 0
        self.both: list[str] = []

    def _look(self) -> None:
        while not self._end.is_set():
            self.looks += 1
            if self._all_have_it() and self._all_have_it():
                self.both.append(self._made.evidence())
                return
            time.sleep(0.02)

    def _all_have_it(self) -> bool:
        for node in self._made.nodes:
            if node.state != "frozen":
                self._had[node.name] = holds(node)
        return all(self._had.values())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)


class Faults:
    def __init__(self, made: Cluster, rng: random.Random) -> None:
        self._made = made
        self._rng = rng

    def one(self) -> None:
        kinds: tuple[Callable[[Node], None], ...] = (
            self.crash,
            self.cut,
            self.freeze,
            self.kill,
            self.apache,
            self.swap,
        )
        self._rng.choice(kinds)(self._rng.choice(self._made.nodes))

    def _a_while(self, most_s: float) -> None:
        time.sleep(self._rng.uniform(0.05, most_s))

    def crash(self, node: Node) -> None:
        node.crash()
        self._a_while(3.0)
        node.boot()
        self._made.safekit(node, "daemon", "start")

    def cut(self, node: Node) -> None:
        node.cut(direction=self._rng.choice(("in", "out", "both")))
        self._a_while(3.0)
        node.heal()

    def freeze(self, node: Node) -> None:
        node.freeze(deep=True)
        self._a_while(4.0)
        node.thaw()

    def kill(self, node: Node) -> None:
        """The daemon, at once."""
        pid = node.run(["cat", "/run/safekit/safekitd.lock"], check=False).stdout.strip()
        node.run(["kill", "-9", pid], check=False)
        self._a_while(2.0)
        self._made.safekit(node, "daemon", "start", ok=False)

    def apache(self, node: Node) -> None:
        pids = node.run(["pgrep", "-x", "apache2"], check=False).stdout.split()
        if pids:
            node.run(["kill", "-9", *pids], check=False)

    def swap(self, node: Node) -> None:
        self._made.safekit(node, "module", "swap", "web", "--no-wait", ok=False)


@contextmanager
def safe_mirror() -> Iterator[Cluster]:
    def change(text: str) -> str:
        return text.replace("availability", "safety") + "loop_interval: 0s\n"

    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_apache_mirror(made, change=change)
        yield made


def test_the_address_is_never_on_two_nodes_and_all_comes_to_rest() -> None:
    rng = random.Random(SEED)
    with safe_mirror() as made:
        faults = Faults(made, rng)
        deadline_s = time.monotonic() + SECONDS
        with Watch(made) as watch:
            while time.monotonic() < deadline_s and not watch.both:
                faults.one()
                time.sleep(rng.uniform(0.1, 2.0))
            made.wait(made.all_hear_each_other, "the nodes hear each other again", 60.0)
            made.wait(made.is_well, "one is primary, one secondary, without an operator", 60.0)
        assert watch.both == []
        assert watch.looks > SECONDS
