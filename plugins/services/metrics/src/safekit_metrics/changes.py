"""Counts the node's decisions and times its fail-overs, from its journal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram

from safekit_metrics.families import BUCKETS_S, CAUSES, DURATION, DURATION_HELP, SEVERITIES

PRIMARY: Final = frozenset({"ALONE", "PRIM"})
LONGEST_S: Final = 3600.0
"""A fail-over that ends later is none: its end was not seen."""
MAX_MODULES: Final = 2000


@dataclass
class Changes:
    """Of the time since the exporter started."""

    registry: CollectorRegistry
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By node, module and severity."""
    _begun: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By module, of a fail-over under way: its cause and when it was decided."""

    def __post_init__(self) -> None:
        labels = ("node", "module", "cause")
        self._durations = Histogram(DURATION, DURATION_HELP, labels, buckets=BUCKETS_S, registry=self.registry)

    def expect(self, node: str, modules: Iterable[str], mirrors: Iterable[str]) -> None:
        """Zeros for what has not happened: Prometheus sees no increase in a number that begins with one."""
        for module in modules:
            for severity in SEVERITIES:
                self.decisions[node, module, severity] += 0
        for module in mirrors:
            for cause in CAUSES:
                self._durations.labels(node, module, cause)

    def take(self, node: str, entries: Iterable[dict[str, Any]]) -> None:
        for entry in entries:
            body = json.loads(entry["body"])
            module, severity = str(entry["module"]), str(body["severity"])
            if severity in SEVERITIES and (module in self._modules() or len(self._modules()) < MAX_MODULES):
                self.decisions[node, module, severity] += 1
                self._follow(node, module, body, float(entry["wall"]))

    def _modules(self) -> set[str]:
        return {module for _, module, _ in self.decisions}

    def _follow(self, node: str, module: str, body: dict[str, Any], wall_s: float) -> None:
        state, _, readiness = str(body["after"]).partition("/")
        if str(body["before"]) == str(body["after"]):
            return
        if readiness == "Transient":
            if cause := _cause(str(body["rule"]), state):
                self._begun[module] = (cause, wall_s)
            return
        begun = self._begun.pop(module, None)
        if begun is None or state not in PRIMARY or readiness != "Ready":
            return
        cause, since_s = begun
        if 0 <= wall_s - since_s <= LONGEST_S:
            self._durations.labels(node, module, cause).observe(wall_s - since_s)


def _cause(rule: str, state: str) -> str:
    return rule if rule in CAUSES and state in PRIMARY else ""
