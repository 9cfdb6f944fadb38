"""The names of all metrics, which stay: the dashboard, the alert rules and other people's are written against them.

Labels are bounded by the configuration: nodes, networks, modules, resources and fixed words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ("node",)


_M: Final = ("node", "module")
_R: Final = ("node", "module", "resource")


def _gauge(name: str, text: str, labels: tuple[str, ...] = ("node",)) -> Metric:
    return Metric(f"safekit_{name}", "gauge", text, labels)


def _counter(name: str, text: str, labels: tuple[str, ...] = ("node",)) -> Metric:
    """`name` without the `_total` that its samples end in."""
    return Metric(f"safekit_{name}", "counter", text, labels)


STATES: Final = ("STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP")
READINESS: Final = ("Ready", "NotReady", "Transient")
VERDICTS: Final = ("up", "down", "init", "unknown")
SEVERITIES: Final = ("info", "warning", "alarm")
CAUSES: Final = ("takeover", "swap")
BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)

DAEMON_UP: Final = _gauge("daemon_up", "Whether safekitd of this node answers.", ())
LEFT_OUT: Final = _gauge("exporter_left_out", "Things that were not read: too many, or their owner did not answer.", ())
INFO: Final = _gauge("daemon_info", "Always 1; what runs on the node.", ("node", "cluster", "version"))
STARTED: Final = _gauge("daemon_start_time_seconds", "When safekitd started, since 1970.")
MEMORY: Final = _gauge("daemon_resident_memory_bytes", "Memory of safekitd that is in RAM.")
ANSWER: Final = _gauge("daemon_answer_seconds", "How long safekitd took to say its state; its loop's delay is in it.")
ALARMS: Final = _gauge("node_alarms", "Alarms of the node itself: its disk, its history, its watchdog.")
PEER_ALIVE: Final = _gauge("peer_alive", "Whether the node hears this peer.", ("node", "peer"))
HEARTBEAT: Final = _gauge(
    "heartbeat_gap_seconds", "Since when the node has not heard the peer on this network.", ("node", "peer", "network")
)

STATE: Final = _gauge("module_state", "1 for the state that the module is in on the node.", (*_M, "state"))
READY: Final = _gauge("module_readiness", "1 for the readiness of that state.", (*_M, "readiness"))
PRIMARY: Final = _gauge("module_primary", "Whether the node runs the module: PRIM, ALONE or UP.", (*_M, "kind"))
STATE_AGE: Final = _gauge("module_state_age_seconds", "How long the module is in its state.", _M)
EPOCH: Final = _gauge("module_epoch", "The epoch of the module's role; it only grows.", _M)
DESIRED: Final = _gauge("module_desired", "Whether the operator wants the module to run here.", _M)
FAILOVER: Final = _gauge("module_failover_enabled", "Whether automatic fail-over is on.", _M)
RESTARTS: Final = _gauge("module_recent_restarts", "Automatic restarts that count against max_loops.", _M)
VERDICT: Final = _gauge("resource_verdict", "1 for what is said of the resource or checker.", (*_R, "verdict"))
DECISIONS: Final = _counter(
    "decisions", "Decisions of the node since the exporter started; module is empty for the node.", (*_M, "severity")
)
DURATION: Final = "safekit_failover_duration_seconds"
"""A histogram of its own; labels node, module, cause."""
DURATION_HELP: Final = "From the decision to take a module over until it runs here; silence before it is not in it."

OWNED: Final = _gauge("farm_buckets_owned", "Buckets of 256 that the map gives the node.", _M)
HELD: Final = _gauge("farm_buckets_held", "Buckets that the node's kernel accepts.", _M)
UNOWNED: Final = _gauge("farm_buckets_unowned", "Buckets that the map gives to nobody.", _M)
MOVING: Final = _gauge("farm_buckets_moving", "Buckets of which another node still has connections.", _M)
SHARE: Final = _gauge("farm_share_ratio", "The part of the clients that the node serves, 0 to 1.", _M)
WEIGHT: Final = _gauge("farm_weight", "The node's weight in the farm.", _M)
FARM: Final = (OWNED, HELD, UNOWNED, MOVING, SHARE, WEIGHT)

RFS: Final = {
    "connected": _gauge("rfs_connected", "Whether the directory's two data paths are connected.", _R),
    "up_to_date": _gauge("rfs_up_to_date", "Whether this node has all that was acknowledged.", _R),
    "degraded": _gauge("rfs_degraded", "Whether the other node lacks what is acknowledged here, or may.", _R),
    "holding": _gauge("rfs_holding", "Whether the primary acknowledges nothing, as its secondary is silent.", _R),
    "epoch": _gauge("rfs_epoch", "The epoch of the primary whose writes it has.", _R),
    "lag_changes": _gauge("rfs_lag_changes", "Changes that the secondary has not confirmed.", _R),
    "lag_bytes": _gauge("rfs_lag_bytes", "Bytes of those changes.", _R),
    "unsent_bytes": _gauge("rfs_unsent_bytes", "Bytes that wait to be sent.", _R),
    "marks": _gauge("rfs_dirty_zones", "Zones that may differ from the other node's.", _R),
    "marks_everything": _gauge("rfs_dirty_everything", "Whether all of it may differ.", _R),
    "sent_bytes": _counter("rfs_sent_bytes", "Bytes sent over the present connection.", _R),
    "received_bytes": _counter("rfs_received_bytes", "Bytes received over the present connection.", _R),
    "refused_connections": _counter("rfs_refused_connections", "Connections that were not of the peer.", _R),
    "resync.done_bytes": _gauge("rfs_resync_done_bytes", "Of a resync under way.", _R),
    "resync.total_bytes": _gauge("rfs_resync_size_bytes", "Of a resync under way, as far as known.", _R),
    "resync.rate_bytes_per_s": _gauge("rfs_resync_rate_bytes_per_second", "Of a resync under way.", _R),
    "resync.left_s": _gauge("rfs_resync_left_seconds", "How long a resync will still take.", _R),
}
"""By the name of the fact in the data path's status."""
FIXED: Final = (
    *(DAEMON_UP, LEFT_OUT, INFO, STARTED, MEMORY, ANSWER, ALARMS, PEER_ALIVE, HEARTBEAT),
    *(STATE, READY, PRIMARY, STATE_AGE, EPOCH, DESIRED, FAILOVER, RESTARTS, VERDICT, *FARM),
)
ALL: Final = (*FIXED, DECISIONS, *RFS.values())


def sample_names() -> set[str]:
    """As Prometheus stores them."""
    plain = {f"{metric.name}_total" if metric.kind == "counter" else metric.name for metric in ALL}
    return plain | {f"{DURATION}_{part}" for part in ("bucket", "count", "sum")}
