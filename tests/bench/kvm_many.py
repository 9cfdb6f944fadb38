"""A hundred guests, each a module: what defining them costs, and how those that a node gets at once are spread."""

from __future__ import annotations

import statistics
import time

import kvm_lab
import kvm_lab_many as many
import scale
from figures import Figure
from lab_cluster import Cluster

DAEMON = "safekit.daemon"
PLANS = 5


def measure_many(count: int) -> list[Figure]:
    with kvm_lab.cluster() as (made, host):
        first, survivor = made.nodes
        every = many.names(count)
        before = scale.look(first, DAEMON)
        many.define(made, host, every)
        added = [_timed(made, "module", "add", name, "--app", "kvm", "--set", f"domain={name}") for name in every]
        planned = [_timed(made, "plan", name) for name in every[-PLANS:]]
        idle, chosen = scale.look(first, DAEMON), every[: many.room()]
        many.start(made, chosen)
        first.crash()
        made.wait(lambda: len(kvm_lab.running(survivor)) == len(chosen), "all are started", 30.0 * len(chosen))
        starts_s = many.started_s(survivor).values()
        many.stop(made, survivor, chosen)
    return [
        _figure("module_add_first_ten", statistics.median(added[:10]), "s", len(added[:10])),
        _figure("module_add_last_ten", statistics.median(added[-10:]), "s", len(added[-10:])),
        _figure("plan", statistics.median(planned), "s", len(planned)),
        _figure("safekitd_without", before.own_kb / 1024, "MiB", 1),
        _figure(f"safekitd_with_{count}", idle.own_kb / 1024, "MiB", 1),
        _figure(f"starts_of_{len(chosen)}_spread", max(starts_s) - min(starts_s), "s", 1),
    ]


def _figure(name: str, value: float, unit: str, runs: int) -> Figure:
    return Figure(name=f"many.{name}", value=round(value, 2), unit=unit, runs=runs)


def _timed(made: Cluster, *words: str) -> float:
    begun_s = time.monotonic()
    made.safekit(made.nodes[0], *words, ok=words[0] != "plan")
    return time.monotonic() - begun_s
