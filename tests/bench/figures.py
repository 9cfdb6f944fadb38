"""The one form of every file below build/bench, and how figures are made from runs."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workspace import ROOT

PLACE = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    """FAULT.STATISTIC, as node_crash.p95."""
    value: float
    unit: str
    runs: int
    peers: dict[str, float] = field(default_factory=dict)
    """The same of other software, measured in the same run on the same lab."""


STATISTICS = ("median", "p95", "max")


def statistic(name: str, values: Sequence[float]) -> float:
    """p95 is by nearest rank: a value that was measured."""
    ordered = sorted(values)
    found = {
        "median": statistics.median(ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
    }
    return round(found[name], 1)


def figures(fault: str, runs: Sequence[float], peers: dict[str, Sequence[float]], unit: str = "ms") -> list[Figure]:
    return [
        Figure(
            name=f"{fault}.{name}",
            value=statistic(name, runs),
            unit=unit,
            runs=len(runs),
            peers={peer: statistic(name, values) for peer, values in peers.items() if values},
        )
        for name in STATISTICS
    ]


def machine() -> dict[str, object]:
    memory_kib = next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")
    )
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / (1 << 20)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def write(name: str, found: Sequence[Figure]) -> Path:
    """Write build/bench/NAME.json."""
    PLACE.mkdir(parents=True, exist_ok=True)
    path = PLACE / f"{name}.json"
    document = {"figures": [asdict(figure) for figure in found], "machine": machine()}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def keep(name: str, found: Sequence[Figure]) -> Path:
    """Write build/bench/NAME.json, beside what is in it and was not measured anew."""
    path = PLACE / f"{name}.json"
    written = json.loads(path.read_text())["figures"] if path.exists() else []
    names = {figure.name for figure in found}
    return write(name, [*(Figure(**each) for each in written if each["name"] not in names), *found])


def table(found: Sequence[Figure]) -> str:
    """As Markdown, for the documentation."""
    peers = list(dict.fromkeys(peer for figure in found for peer in figure.peers))
    rows = [["figure", "unit", "runs", "safekit", *peers]]
    rows.append(["---"] * len(rows[0]))
    for figure in found:
        others = [f"{figure.peers[peer]:g}" if peer in figure.peers else "-" for peer in peers]
        rows.append([figure.name, figure.unit, str(figure.runs), f"{figure.value:g}", *others])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
