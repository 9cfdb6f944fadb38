"""Histories of simulated nodes, written by the recorder of the daemon into the file that `safekit replay` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from safekit import engine
from safekit.daemon.recorder import Recorder
from safekit.engine import NodeState, events
from safekit.engine.actions import Action, Explain
from safekit.engine.rules import Rule, Test
from safekit.engine.spec import IsolationPolicy, Kind, ModuleSpec
from safekit.journal import History, Query
from safekit.journal.codec import load_decision
from safekit.journal.stretch import find_stretch
from safekit.replaying.changes import Changes, read_changes
from safekit.replaying.replay import Replayed, replay
from safekit.simulation import machine
from safekit.simulation.daemon import Daemon
from safekit.simulation.drawing import draw
from safekit.simulation.history import History as Simulated
from safekit.simulation.scenario import MODULE, Timing

QUICK: Final = Timing(0.1, 1.0)


@dataclass
class Record:
    """Of one node."""

    path: Path
    history: History
    recorder: Recorder | None = None

    def write(
        self,
        daemon: Daemon,
        before: NodeState,
        event: events.Event,
        actions: tuple[Action, ...],
        now_s: float,
        *,
        changed: bool,
    ) -> None:
        if self.recorder is None or self.recorder.incarnation != daemon.incarnation:
            self.recorder = Recorder(self.history, daemon.incarnation, lambda decision: None)
        self.recorder.record(before, event, daemon.node, now_s, changed=changed)
        for action in actions:
            if isinstance(action, Explain):
                self.recorder.decided(action, now_s)

    def replay(self, *settings: str, changes: Changes | None = None, since: float = 0.0) -> Replayed:
        assert self.history.flush(30.0)
        stretch = find_stretch(self.path, since, float("inf"))
        told = changes or read_changes(MODULE, settings, None)
        return replay(stretch.entries(), stretch.pauses(), told, since, float("inf"))


class Records:
    """Whatever the daemons of a simulated cluster are told from now on is kept, each node's in a file of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._by_node: dict[str, Record] = {}
        records = self

        class Recording(Daemon):
            def submit(self, event: events.Event) -> None:
                """As the runtime does it: on record before anything follows from it."""
                before, now_s = self.node, self.machine.local_s()
                self.node, actions = engine.step(before, event, now_s)
                changed = bool(actions) or self.node.modules is not before.modules
                records.of(self.machine.name).write(self, before, event, actions, now_s, changed=changed)
                if changed:
                    self.machine.watch.decided(self, before, event, actions)
                    self._queue(actions)
                    self._set_timer()

        monkeypatch.setattr(machine, "Daemon", Recording)

    def of(self, node: str) -> Record:
        if node not in self._by_node:
            path = self._folder / node / "history.db"
            self._by_node[node] = Record(path, History(path))
        return self._by_node[node]

    def close(self) -> None:
        for record in self._by_node.values():
            record.history.close()


class Pair:
    """Two simulated nodes with a mirror, a being primary."""

    def __init__(self, records: Records, module: ModuleSpec, timing: Timing = QUICK) -> None:
        self._records = records
        scenario = replace(
            draw(0),
            nodes=("a", "b"),
            networks=("net1",),
            module=module,
            timing=timing,
            rates=(1.0, 1.0),
            delay_s=(0.001, 0.002),
            loss=0.0,
            twice=0.0,
            phase_s=0.3,
            save_s=0.001,
            faults=(),
        )
        self.world = Simulated(scenario)
        self.world.watch.begin(self.world.machines)
        for one in self.world.machines.values():
            one.power_on()
            self.pass_time(0.2)
            one.command(events.Command.START)
        self.pass_time(15.0)
        assert self.states() == ["PRIM/Ready", "SECOND/Ready"]

    def pass_time(self, seconds: float) -> None:
        self.world.schedule.run(self.world.schedule.now_s + seconds)

    def states(self) -> list[str]:
        modules = [one.daemon.node.modules[MODULE] for one in self.world.machines.values() if one.daemon]
        return [f"{module.state}/{module.readiness}" for module in modules]

    def silence(self, seconds: float) -> None:
        """No heartbeat arrives, and everything runs."""
        links = self.world.network.links()
        self.world.watch.quiet_since_s = math.inf
        self.world.network.cut(links)
        self.pass_time(seconds)
        self.world.network.mend(links)
        self.world.watch.quiet_since_s = self.world.schedule.now_s

    def say(self, node: str, health: str, resource: str = "http.home") -> None:
        daemon = self.world.machines[node].daemon
        assert daemon is not None
        daemon.submit(events.VerdictChanged(MODULE, resource, health, "as the test says"))

    def start(self, node: str) -> None:
        self.world.machines[node].command(events.Command.START)

    def last_decision(self, node: str) -> Explain:
        """On record."""
        record = self._records.of(node)
        assert record.history.flush(30.0)
        return load_decision(record.history.query(Query(MODULE, ("decision",), last=1))[-1].body)

    def replay(self, node: str, *settings: str, changes: Changes | None = None) -> Replayed:
        return self._records.of(node).replay(*settings, changes=changes)


def mirror(**changes: Any) -> ModuleSpec:
    spec = ModuleSpec(MODULE, Kind.MIRROR, ("a", "b"), isolation=IsolationPolicy.AVAILABILITY, signature="1")
    return replace(spec, **changes)


def rule(action: str, ident: str = "home", **changes: Any) -> Rule:
    """`home_down: if (http.home == down)`."""
    return replace(Rule(f"{ident}_down", Test("local", "http", ident, "down"), action), **changes)
