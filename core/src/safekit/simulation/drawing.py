"""What is drawn from a seed before a history begins."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from safekit.engine.rules import Rule, Test
from safekit.engine.spec import BootPolicy, IsolationPolicy, Kind, ModuleSpec, WitnessSpec
from safekit.simulation.scenario import MODULE, Scenario, Timing

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
NEWER: Final = 100_000
"""From this seed on there are the faults below, and histories of very different lengths. Those of earlier seeds stay
what they were when they found something."""
NEWER_FAULTS: Final = ("host_freeze", "suspend", "hung_disk", "deaf", "retime")
NEED_A_WATCHDOG: Final = frozenset({"stuck_stop", "host_freeze"})
"""Nobody is left who could end it in time."""


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
    factors = (5.0, 8.0, 15.0) if seed < NEWER else (5.0, 5.0, 5.0, 8.0, 15.0)
    third = _witness(extra, lost_after_s * extra.choice(factors), phase_s) if may_have_one else None
    scenario = Scenario(
        seed=seed,
        nodes=nodes,
        networks=("net1", "net2")[: rng.randint(1, 2)],
        module=_module(rng, kind, nodes, phase_s),
        timing=Timing(interval_s, lost_after_s),
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
    if seed >= NEWER:
        scenario = _newer(Random(seed ^ 0x2E3), scenario, may_fence=kind is Kind.MIRROR and third is None)
    return scenario if third is None else _witnessed(extra, scenario, third)


def _newer(rng: Random, scenario: Scenario, *, may_fence: bool) -> Scenario:
    shape = rng.choices((_short, _long, None), (14, 1, 5))[0]
    newer = rng.sample(NEWER_FAULTS, rng.choice((0, 0, 1, 1, 2)))
    scenario = shape(rng, scenario) if shape is not None else scenario
    timings = tuple(_faster(rng, scenario.timing) for _ in range(2)) if "retime" in newer else ()
    grows = ("resize",) if scenario.module.kind is Kind.FARM and Random(scenario.seed ^ 0x512E).random() < 0.4 else ()
    faults = (*scenario.faults, *newer, *grows)
    nodes = scenario.nodes[:3] if len(scenario.nodes) > 3 and rng.random() < 0.7 else scenario.nodes
    return replace(
        scenario,
        nodes=nodes,
        rates=scenario.rates[: len(nodes)],
        module=replace(scenario.module, nodes=nodes, fences=may_fence and len(nodes) > 1 and rng.random() < 0.25),
        faults=faults,
        later_timings=timings,
        own_randomness=True,
    )


def _short(rng: Random, scenario: Scenario) -> Scenario:
    faults = scenario.faults
    faults = tuple(rng.sample(faults, min(rng.randint(1, 3), len(faults))))
    return replace(scenario, faults=faults, count=rng.randint(1, 3), trouble_s=rng.choice((1.5, 4.0)))


def _long(rng: Random, scenario: Scenario) -> Scenario:
    return replace(scenario, count=rng.randint(12, 25), trouble_s=60.0)


def _faster(rng: Random, timing: Timing) -> Timing:
    interval_s = timing.interval_s * rng.choice((0.5, 1.0))
    return Timing(interval_s, max(timing.lost_after_s * rng.choice((0.5, 0.8, 1.0)), 4 * interval_s))


def _witness(rng: Random, lease_s: float, phase_s: float) -> WitnessSpec | None:
    """Of two mirrors one has a witness. Its lease leaves time for a forced stop, and for silence that is none."""
    lease_s = max(lease_s, 10 * phase_s + 2.0)
    made = WitnessSpec("splitbrain.lease", lease_s, timeout_s=min(1.0, 0.1 * lease_s), exclusive=rng.random() < 0.8)
    return made if rng.random() < 0.5 else None


def _witnessed(rng: Random, scenario: Scenario, witness: WitnessSpec) -> Scenario:
    fences = rng.random() < 0.5
    faults = (*scenario.faults, *rng.sample(WITH_A_WITNESS, rng.randint(0, 3)))
    if not fences:
        need_a_watchdog = NEED_A_WATCHDOG | ({"host_kill"} if "daemon_freeze" in faults else set())
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
