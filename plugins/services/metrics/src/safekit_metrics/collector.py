"""Asks the node at each scrape. One that is asked too often repeats what it knows."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from safekit_metrics import families
from safekit_metrics.changes import Changes
from safekit_metrics.families import Metric
from safekit_metrics.reading import MAX_MODULES, Told, left_out, samples
from safekit_sdk import SafekitError
from safekit_sdk.control import ControlClient

FRESH_S: Final = 0.5
"""So long a look is good for whoever asks."""
STATUS_S: Final = 3.0
INSPECT_S: Final = 4.0
"""For all replicated directories together."""
PAGE: Final = 5000
"""Decisions between two looks; of more the oldest are not counted."""
EXPECTED: Final = (SafekitError, TimeoutError, OSError, ValueError, KeyError)
"""The last two: a daemon of another version."""
RFS: Final = "rfs."


class Exporter:
    def __init__(self, client: ControlClient, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._client = client
        self._registry = CollectorRegistry()
        self._registry.register(_Told(self))
        self._changes = Changes(self._registry)  # after it: a look is what counts the changes
        self._one_at_a_time = threading.Lock()
        self._text = b""
        self._made_s = float("-inf")
        self._incarnation = -1
        self._version = ""
        self._after: int | None = None
        """The last entry of the journal that was counted."""

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        with self._one_at_a_time:
            if time.monotonic() - self._made_s > self._fresh_s:
                self._text = generate_latest(self._registry)
                self._made_s = time.monotonic()
            return self._text

    def families(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        try:
            told, missed = self._look()
            found = [*samples(told), *self._decided()]
        except EXPECTED:
            found, missed = [(families.DAEMON_UP, (), 0.0)], 0
        else:
            found.append((families.DAEMON_UP, (), 1.0))
        found.append((families.LEFT_OUT, (), float(missed)))
        return _grouped(found)

    def _look(self) -> tuple[Told, int]:
        began_s = time.monotonic()
        status = dict(self._client.call("status", timeout_s=STATUS_S))
        took_s = time.monotonic() - began_s
        node = str(status["node"])
        if (incarnation := int(status["incarnation"])) != self._incarnation:
            self._meet()
            self._incarnation = incarnation
        modules = {str(module["name"]): str(module["kind"]) for module in status["modules"][:MAX_MODULES]}
        self._changes.expect(node, ["", *modules], [name for name, kind in modules.items() if kind == "mirror"])
        self._follow(node)
        inspected, missed = self._inspect(status)
        return Told(status, self._version, took_s, inspected), missed + left_out(status)

    def _meet(self) -> None:
        """A daemon that began anew may be of another version, and its journal another one. The past before the first
        look is nobody's."""
        self._version = str(self._client.call("ping", timeout_s=STATUS_S)["version"])
        last = max((int(entry["id"]) for entry in self._entries(0, 1)), default=0)
        self._after = last if self._after is None else min(self._after, last)

    def _inspect(self, status: dict[str, Any]) -> tuple[dict[str, dict[str, dict[str, str]]], int]:
        """Of modules that replicate; and how many did not answer in time."""
        end_s = time.monotonic() + INSPECT_S
        found, missed = {}, 0
        for module in status["modules"][:MAX_MODULES]:
            if not any(str(value["resource"]).startswith(RFS) for value in module["values"]):
                continue
            left_s = end_s - time.monotonic()
            try:
                if left_s <= 0:
                    raise TimeoutError
                name = str(module["name"])
                found[name] = dict(self._client.call("inspect", {"module": name}, timeout_s=min(left_s, 2.0)))
            except EXPECTED:
                missed += 1
        return found, missed

    def _follow(self, node: str) -> None:
        """Count what was decided since the last look."""
        entries = self._entries(self._after or 0, PAGE)
        if entries:
            self._changes.take(node, entries)
            self._after = int(entries[-1]["id"])

    def _entries(self, after_id: int, last: int) -> list[dict[str, Any]]:
        asked = {"kinds": ["decision"], "after_id": after_id, "last": last}
        return list(self._client.call("entries", asked, timeout_s=STATUS_S))

    def _decided(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for labels, count in self._changes.decisions.items():
            yield families.DECISIONS, labels, float(count)


class _Told(Collector):
    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: a registry would ask the node to find the names."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        return self._exporter.families()


def _grouped(
    found: list[tuple[Metric, tuple[str, ...], float]],
) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    by_metric: dict[Metric, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    for metric, labels, number in found:
        by_metric[metric].append((labels, number))
    for metric, numbers in by_metric.items():
        cls = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = cls(metric.name, metric.help, labels=metric.labels)
        for labels, number in numbers:
            family.add_metric(labels, number)
        yield family
