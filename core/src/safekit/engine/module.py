"""One module on one node: what the engine knows of it, and the turn in which it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from safekit.engine.actions import Action, Explain, KillHost, Publish, RunPipeline, StartHost, StopHost
from safekit.engine.around import PeerView, Surroundings
from safekit.engine.events import Command
from safekit.engine.lease import NO_RIGHT, Right
from safekit.engine.reports import ModuleState, Readiness
from safekit.engine.share import NO_SHARE, Share
from safekit.engine.spec import ModuleSpec
from safekit.engine.transitions import LEAVE_IT_ALONE, OF_DATA, ROWS, Row, phases

LEAP: Final = 16
"""How much a role that is taken without the peer's word raises the epoch: the peer may have taken it by this node's
word since it was heard, and again, and raised its own by one each time."""


class HostState(StrEnum):
    NONE = "none"
    STARTING = "starting"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Value:
    value: str
    reason: str
    since_s: float
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    number: int
    row: Row
    deadline_s: float
    force: bool = False
    killed: bool = False
    order: RunPipeline | None = None
    """What the host is to do as soon as it may; None when it was told."""
    blameless: bool = False
    """Killed for a reason that lies outside of the module: not counted as a restart."""


@dataclass(frozen=True, slots=True)
class Module:
    spec: ModuleSpec
    state: ModuleState = ModuleState.STOP
    readiness: Readiness = Readiness.NOT_READY
    reason: str = ""
    since_s: float = 0.0
    # durable
    epoch: int = 0
    was_primary: bool = False
    active: bool = False
    """Something of the primary may run here. Durable before it starts, until after it has stopped."""
    desired: bool = False
    """The operator wants it started."""
    failover: bool = True
    stood_alone: int = 0
    """The last epoch in which this node acknowledged writes, or was about to, that its peer lacks."""
    alone_epoch: int = 0
    """The last epoch in which either node did."""
    # of this incarnation
    leaving: bool = False
    """The daemon ends: stop, whatever is desired."""
    incumbent: bool = False
    """It was primary in this incarnation, and since then nobody else can have become it with its word."""
    parting: str = ""
    """Why this primary is to stand alone, while that is being agreed on."""
    parting_s: float = 0.0
    """Since when something is being agreed on."""
    took_over: bool = False
    doubtful: bool = False
    handover: bool = False
    handover_until_s: float = 0.0
    claim: int = 0
    acknowledged: int = 0
    chosen: bool = False
    """The operator said `prim`: be primary without the peer's word, once."""
    chosen_alone: bool = False
    """The peer could not be heard when the operator said so, nor since."""
    chosen_by_force: bool = False
    only_second: bool = False
    """The operator said `second`: never primary from WAIT."""
    again: bool = False
    """Stop, then start: a stopstart under way."""
    survivor: bool = False
    """Its primary went while automatic failover was off: it waits for the operator or the peer."""
    swapped_back: bool = False
    """The automatic swap to the default primary was tried since the peer was away, or the operator swapped."""
    share: Share = NO_SHARE
    """Of a farm's clients."""
    right: Right = NO_RIGHT
    """To be primary, where a witness decides."""
    fenced_s: float = -math.inf
    """When the peer was known to be off."""
    fence_s: float = 0.0
    """When it is to be fenced, where that is put off; 0 where it is not."""
    met: tuple[tuple[str, str], ...] = ()
    """What the host knows of the peer's resources."""
    host: HostState = HostState.NONE
    run: Run | None = None
    runs: int = 0
    pending: Command | None = None
    cleanup: bool = False
    """Force-stop everything before anything else: something may run from before."""
    cleanups: int = 0
    """Clean-ups in a row that did not succeed."""
    cleanup_s: float = 0.0
    """When the next one is due."""
    reload: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    holding: dict[str, float] = field(default_factory=dict)
    """Rules with a hold time whose condition is true, since when; and since when `then ACTION` has been what follows,
    where that must stay the same for a time."""
    wait_rule: str = ""
    loops: tuple[float, ...] = ()
    retry_s: float = 0.0

    @property
    def wanted(self) -> bool:
        return self.desired and not self.leaving

    @property
    def is_primary(self) -> bool:
        """It runs as primary or is about to; `active` is also what is being ended, or may run from before."""
        return self.active and not self.cleanup and self.state in {ModuleState.ALONE, ModuleState.PRIM}

    @property
    def announced(self) -> int:
        """The epoch in which it is to stand alone, while that is being agreed on; 0 when nothing is."""
        waits = self.parting or (self.run is not None and self.run.order is not None)
        return self.stood_alone if waits else 0

    @property
    def weight(self) -> int:
        """Of this node in a farm."""
        return self.spec.weight if self.share.weight is None else self.share.weight

    @property
    def steady(self) -> bool:
        return self.run is None and self.readiness is Readiness.READY

    def plain_values(self) -> dict[str, str]:
        return {name: value.value for name, value in self.values.items()}


class Turn:
    """Collects the changes and actions of one step for one module. Lives only within the step."""

    def __init__(self, module: Module, around: Surroundings, now_s: float) -> None:
        self.m = module
        self.around = around
        self.now_s = now_s
        self.actions: list[Action] = []
        self.wants_lease = False

    @property
    def peer(self) -> PeerView:
        return self.around.peer

    @property
    def shown(self) -> str:
        return f"{self.m.state}/{self.m.readiness}"

    def set(self, **changes: Any) -> None:
        if any(getattr(self.m, name) != value for name, value in changes.items()):
            self.m = replace(self.m, **changes)

    def say(self, decision: str, rule: str, *, severity: str = "info", prevent: str = "", **facts: str) -> None:
        """Explain something that changes no state."""
        shown = self.shown
        self.actions.append(
            Explain(
                self.m.spec.name, decision, rule, facts, prevent=prevent, before=shown, after=shown, severity=severity
            )
        )

    def be(
        self,
        state: ModuleState,
        readiness: Readiness,
        why: str,
        rule: str,
        *,
        severity: str = "info",
        facts: dict[str, str] | None = None,
        considered: tuple[str, ...] = (),
        prevent: str = "",
    ) -> None:
        """Change state, readiness or reason, explain it and publish it; nothing when it is so already."""
        before = self.shown
        after = f"{state}/{readiness}"
        if before == after and why == self.m.reason:
            return
        since_s = self.m.since_s if state is self.m.state else self.now_s
        self.set(state=state, readiness=readiness, reason=why, since_s=since_s)
        self.actions.append(
            Explain(
                self.m.spec.name,
                why,
                rule,
                {**self._facts(), **(facts or {})},
                considered,
                prevent,
                before,
                after,
                severity,
            )
        )
        self.publish()

    def _facts(self) -> dict[str, str]:
        facts = {"epoch": str(self.m.epoch)}
        if self.peer.node:
            report = self.peer.report
            if not self.peer.alive:
                said = f"silent for {self.peer.silent_s:.2f} s" if report else "not heard since this node started"
                facts[f"peer {self.peer.node}"] = said
            elif report is not None:
                active = ", active" if report.active else ""
                facts[f"peer {self.peer.node}"] = f"{report.state}/{report.readiness}, epoch {report.epoch}{active}"
            else:
                facts[f"peer {self.peer.node}"] = "alive, without this module"
        return facts

    def publish(self) -> None:
        if Publish() not in self.actions:
            self.actions.append(Publish())

    def need_host(self) -> bool:
        """True when the host is there; else it is started, and the decision is taken again when it is."""
        if self.m.host is HostState.NONE:
            self.set(host=HostState.STARTING, reload=False)
            self.actions.append(StartHost(self.m.spec.name))
        return self.m.host is HostState.READY

    def drop_host(self) -> None:
        if self.m.host is not HostState.NONE:
            self.set(host=HostState.NONE, values={}, holding={}, met=())
            self.actions.append(StopHost(self.m.spec.name))

    def begin(
        self,
        name: str,
        why: str,
        rule: str = "",
        *,
        force: bool = False,
        severity: str = "info",
        facts: dict[str, str] | None = None,
        considered: tuple[str, ...] = (),
        prevent: str = "",
    ) -> bool:
        """Enter a row of the table: its state at once (Transient), its phases by the host."""
        if not self.need_host():
            return False
        row = ROWS[name]
        before = self.m.state
        if row.takes:
            self._take(row)
        elif row.name == "become-second":
            self.set(stood_alone=0, was_primary=False)
        number = self.m.runs + 1
        bound_s = self.m.spec.start_bound_s + self.m.spec.stop_bound_s
        after = row.after or before
        handover = self.m.handover and after is ModuleState.SECOND
        order = RunPipeline(
            self.m.spec.name,
            number,
            tuple(p for p in phases(row, before, force) if self.m.spec.has_data or p not in OF_DATA),
            before,
            after,
            row.cause,
            self.m.epoch,
            force,
            bound_s,
            self.peer.node,
        )
        waits = row.takes and row.after is ModuleState.ALONE and self.m.spec.has_data
        run = Run(number, row, self.now_s + bound_s, force, order=order if waits else None)
        parting = "" if row.after else self.m.parting
        self.set(runs=number, run=run, claim=0, handover=handover, parting=parting, parting_s=self.now_s)
        self.set(holding=self.m.holding if name in LEAVE_IT_ALONE else {})
        self.be(
            after,
            Readiness.TRANSIENT,
            why,
            rule or name,
            severity=severity,
            facts=facts,
            considered=considered,
            prevent=prevent,
        )
        if not waits:
            self.actions.append(order)
        return True

    def _take(self, row: Row) -> None:
        seen = self.peer.report.epoch if self.peer.report else 0
        ahead = LEAP if self.peer.node and not self.peer.alive else 1
        known = max(self.m.epoch, seen)
        epoch = self.m.right.epoch if self.m.right.epoch > known else known + ahead
        if row.after is ModuleState.ALONE and self.m.spec.has_data:
            self.set(stood_alone=epoch, alone_epoch=epoch)
        self.set(
            epoch=epoch,
            was_primary=True,
            incumbent=True,
            active=True,
            doubtful=False,
            chosen=False,
            chosen_alone=False,
            chosen_by_force=False,
            survivor=False,
            took_over=row.name == "takeover" and not self.peer.alive,
            swapped_back=row.name != "become-alone"
            and ((self.m.swapped_back and self.peer.alive) or row.cause == "swap"),
        )

    def kill_host(self, why: str, *, blameless: bool = False) -> None:
        if self.m.run is not None and not self.m.run.killed:
            self.set(run=replace(self.m.run, killed=True, blameless=blameless))
            self.actions.append(KillHost(self.m.spec.name, why))

    def count_loop(self, why: str) -> bool:
        """One more automatic restart; False when it was one too many and the module is to stop."""
        spec = self.m.spec
        recent = (*(at for at in self.m.loops if self.now_s - at < spec.loop_interval_s), self.now_s)
        self.set(loops=recent)
        if spec.loop_interval_s == 0 or len(recent) <= spec.max_loops:
            self.set(retry_s=self.now_s + (min(2.0 ** (len(recent) - 2), 60.0) if len(recent) > 1 else 0.0))
            return True
        self.set(desired=False, again=False)
        self.say(
            f"{len(recent)} automatic restarts within {spec.loop_interval_s:g} s: the module stops ({why})",
            "max_loops",
            severity="alarm",
            prevent="find out why it fails: `safekit log`; then `safekit module start`",
        )
        return False
