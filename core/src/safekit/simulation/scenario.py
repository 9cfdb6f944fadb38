"""A history's cluster, its settings, and the kinds of trouble in store for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from safekit.engine.spec import MembershipSpec, ModuleSpec

MODULE: Final = "web"
ROUGH: Final = frozenset(
    {
        "host_hang",
        "host_freeze",
        "stuck_stop",
        "failed_start",
        "app_down",
        "slow_disk",
        "hung_disk",
        "failed_disk",
        "lost_share",
    }
)
"""After these what a bound promises is the bound of a run or of a pause, and not a few round trips."""


@dataclass(frozen=True, slots=True)
class Timing:
    interval_s: float
    lost_after_s: float


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault, when it begins, and how much of its drawn duration it lasts."""

    number: int
    kind: str
    at_s: float
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    nodes: tuple[str, ...]
    networks: tuple[str, ...]
    module: ModuleSpec
    timing: Timing
    """Of the heartbeats, when it begins."""
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
    later_timings: tuple[Timing, ...] = ()
    """What the configuration may be changed to; no loss time is longer than the first."""
    may_end_alone: bool = True
    """At its end one node may be off for good."""
    own_randomness: bool = False
    """Each fault has a source of its own: without one of them the others stay as they are."""
    injections: tuple[Injection, ...] | None = None
    """Instead of those that are drawn."""

    @property
    def lost_after_s(self) -> float:
        """The longest."""
        return self.timing.lost_after_s

    @property
    def least_lost_after_s(self) -> float:
        return min(timing.lost_after_s for timing in (self.timing, *self.later_timings))

    @property
    def lease_s(self) -> float:
        return self.module.witness.lease_s if self.module.witness is not None else 0.0

    @property
    def settle_s(self) -> float:
        """Within this, after the last fault, every module is where it should be."""
        calm_s = 6 * self.lost_after_s + 30 * self.phase_s + 12.0 + 4 * self.lease_s
        calm_s += 60.0 if self.module.fences else 0.0
        return calm_s + (2 * self.run_bound_s + 70.0 if self.rough else 0.0)

    @property
    def run_bound_s(self) -> float:
        return self.module.start_bound_s + self.module.stop_bound_s

    @property
    def rough(self) -> bool:
        return bool(ROUGH & set(self.faults))

    @property
    def clocks_stand(self) -> bool:
        """No clock tells a node how long it was suspended: what holds by time alone does not hold then."""
        return "suspend" in self.faults

    def membership(self, name: str, timing: Timing) -> MembershipSpec:
        peers = tuple(node for node in self.nodes if node != name)
        return MembershipSpec(name, peers, self.networks, timing.interval_s, timing.lost_after_s)


@dataclass(slots=True)
class Ills:
    """What is wrong with one machine at the moment."""

    failed_starts: int = 0
    stuck_stops: int = 0
    hanging_runs: int = 0
    lost_shares: int = 0
    app_down: bool = False
    slow_save_s: float = 0.0
    disk_hangs_until_s: float = 0.0
    """True time."""
    disk_failed: bool = False
    tokens: list[str] = field(default_factory=list)

    def take(self, what: str) -> bool:
        """Whether this one fails; each was injected for so many times."""
        left = int(getattr(self, what))
        if left > 0:
            setattr(self, what, left - 1)
        return left > 0
