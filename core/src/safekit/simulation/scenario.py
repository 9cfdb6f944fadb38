"""What is drawn from a seed before a history begins: the cluster, its settings, and the kinds of trouble in store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from safekit.engine.rules import Rule, Test
from safekit.engine.spec import BootPolicy, IsolationPolicy, Kind, MembershipSpec, ModuleSpec, WitnessSpec

MODULE: Final = "web"
FAULTS: Final = (
    "cut",
    "flap",
    "one_way",
    "noise",
    "power",
    "daemon_crash",
    "daemon_stop",
    "freeze",
    "daemon_freeze",
    "slow_disk",
    "failed_disk",
    "host_kill",
    "host_hang",
    "failed_start",
    "stuck_stop",
    "app_down",
    "command",
    "swap",
    "prim",
    "reconfigure",
)
WITH_A_WITNESS: Final = ("witness_down", "witness_cut", "isolate")
OF_A_FARM: Final = ((), ("weight", "lost_share"))
ROUGH: Final = frozenset(
    {"host_hang", "stuck_stop", "failed_start", "app_down", "slow_disk", "failed_disk", "lost_share"}
)
"""After these what a bound promises is the bound of a run or of a pause, and not a few round trips."""


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    nodes: tuple[str, ...]
    networks: tuple[str, ...]
    module: ModuleSpec
    interval_s: float
    lost_after_s: float
    rates: tuple[float, ...]
    """How many seconds each node's clock counts in a true second."""
    delay_s: tuple[float, float]
    loss: float
    twice: float
    """The part of the heartbeats that arrive twice."""
    phase_s: float
    """The longest that a phase takes."""
    save_s: float
    """The longest that a save takes when the disk is well."""
    trouble_s: float
    """Faults begin before this."""
    faults: tuple[str, ...]
    count: int
    witness_rate: float = 1.0
    fences: bool = False
    """A node that does not stop in time is reset, by itself or by its watchdog."""

    @property
    def lease_s(self) -> float:
        return self.module.witness.lease_s if self.module.witness is not None else 0.0

    @property
    def settle_s(self) -> float:
        """Within this, after the last fault, every module is where it should be."""
        calm_s = 6 * self.lost_after_s + 30 * self.phase_s + 12.0 + 4 * self.lease_s
        return calm_s + (2 * self.run_bound_s + 70.0 if self.rough else 0.0)

    @property
    def run_bound_s(self) -> float:
        return self.module.start_bound_s + self.module.stop_bound_s

    @property
    def rough(self) -> bool:
        return bool(ROUGH & set(self.faults))

    def membership(self, name: str) -> MembershipSpec:
        peers = tuple(node for node in self.nodes if node != name)
        return MembershipSpec(name, peers, self.networks, self.interval_s, self.lost_after_s)


def draw(seed: int, *, witness: bool = True) -> Scenario:
    """`witness`: whether a mirror may have one. Without one a seed gives the same scenario, but for it."""
    rng = Random(seed)
    kind = rng.choices((Kind.MIRROR, Kind.FARM, Kind.LIGHT), (15, 4, 1))[0]
    nodes = ("a", "b") if kind is Kind.MIRROR and rng.random() < 0.95 else ("a", "b", "c")[: rng.randint(1, 3)]
    if kind is Kind.MIRROR:
        nodes = nodes[:2]
    if kind is Kind.FARM:
        nodes = ("a", "b", "c", "d", "e")[: Random(seed ^ 0xFA12).randint(1, 5)]
    interval_s = rng.choice((0.1, 0.2, 0.25))
    lost_after_s = interval_s * rng.choice((4, 5, 8, 10))
    phase_s = rng.choice((0.05, 0.3, 1.0))
    extra = Random(seed ^ 0x717)
    may_have_one = witness and kind is Kind.MIRROR and len(nodes) > 1
    third = _witness(extra, lost_after_s, phase_s) if may_have_one else None
    scenario = Scenario(
        seed=seed,
        nodes=nodes,
        networks=("net1", "net2")[: rng.randint(1, 2)],
        module=_module(rng, kind, nodes, phase_s),
        interval_s=interval_s,
        lost_after_s=lost_after_s,
        rates=tuple(rng.choice((1.0, rng.uniform(0.9, 1.1))) for _ in nodes),
        delay_s=rng.choice(((0.0005, 0.002), (0.001, 0.4 * interval_s), (0.0, 1.5 * interval_s))),
        loss=rng.choice((0.0, 0.0, 0.02, 0.1)),
        twice=rng.choice((0.0, 0.0, 0.1)),
        phase_s=phase_s,
        save_s=rng.choice((0.001, 0.05, 0.5)),
        trouble_s=rng.choice((5.0, 15.0, 30.0)),
        faults=(*sorted(rng.sample(FAULTS, rng.choice((1, 2, 3, 6, len(FAULTS))))), *OF_A_FARM[kind is Kind.FARM]),
        count=rng.randint(1, 12),
    )
    return scenario if third is None else _witnessed(extra, scenario, third)


def _witness(rng: Random, lost_after_s: float, phase_s: float) -> WitnessSpec | None:
    """Of two mirrors one has a witness. Its lease leaves time for a forced stop, and for silence that is none."""
    lease_s = max(lost_after_s * rng.choice((5.0, 8.0, 15.0)), 10 * phase_s + 2.0)
    made = WitnessSpec("splitbrain.lease", lease_s, timeout_s=min(1.0, 0.1 * lease_s), exclusive=rng.random() < 0.8)
    return made if rng.random() < 0.5 else None


def _witnessed(rng: Random, scenario: Scenario, witness: WitnessSpec) -> Scenario:
    fences = rng.random() < 0.5
    faults = (*scenario.faults, *rng.sample(WITH_A_WITNESS, rng.randint(0, 3)))
    if not fences:
        need_a_watchdog = {"stuck_stop", "host_kill"} if "daemon_freeze" in faults else {"stuck_stop"}
        faults = tuple(fault for fault in faults if fault not in need_a_watchdog) or ("cut",)
    return replace(
        scenario,
        module=replace(scenario.module, witness=witness),
        faults=faults,
        witness_rate=rng.choice((1.0, rng.uniform(0.9, 1.1))),
        fences=fences,
    )


def _module(rng: Random, kind: Kind, nodes: tuple[str, ...], phase_s: float) -> ModuleSpec:
    action = rng.choice(("restart", "stopstart", "wait", "swap", "stop", ""))
    down = Test("local", "http", "home", "down", negated=False)
    hold_s = rng.choice((0.0, 0.0, 1.5))
    return ModuleSpec(
        MODULE,
        kind,
        nodes,
        rules=(Rule(f"home_{action}", down, action, hold_s=hold_s),) if action else (),
        isolation=rng.choice((IsolationPolicy.SAFETY, IsolationPolicy.SAFETY, IsolationPolicy.AVAILABILITY)),
        has_data=rng.random() < 0.3,
        default_primary=rng.choice((None, None, *nodes)),
        boot=rng.choice((BootPolicy.AUTO, BootPolicy.AUTO, BootPolicy.ON, BootPolicy.OFF)),
        start_bound_s=10 * phase_s + 4.0,
        stop_bound_s=10 * phase_s + 2.0,
        signature="1",
    )


@dataclass(slots=True)
class Ills:
    """What is wrong with one machine at the moment."""

    failed_starts: int = 0
    stuck_stops: int = 0
    hanging_runs: int = 0
    lost_shares: int = 0
    app_down: bool = False
    slow_save_s: float = 0.0
    disk_failed: bool = False
    tokens: list[str] = field(default_factory=list)

    def take(self, what: str) -> bool:
        """Whether this one fails; each was injected for so many times."""
        left = int(getattr(self, what))
        if left > 0:
            setattr(self, what, left - 1)
        return left > 0
