"""One witness without a disk or a network, and what is said to it."""

from __future__ import annotations

from safekit_witness.leases import Leases
from safekit_witness.messages import Acquire, Event, Renew, Reply

NODES = ("node1", "node2", "node3")
TTL_S = 10.0
SINCE = "had it since"
"""In the reason why one that lacks what another wrote gets no lease."""


def fresh(at_s: float = 1000.0) -> Leases:
    """Of a witness that has run for long."""
    return Leases(started_s=at_s - 1000.0)


def tell(leases: Leases, event: Event, now_s: float, module: str = "web") -> Reply:
    outcome = leases.decide("paris", module, event, now_s)
    leases.accept("paris", module, outcome.entry)
    return outcome.reply


def acquire(node: str, epoch: int = 0, ttl_s: float = TTL_S, after: int | None = None) -> Acquire:
    return Acquire(node=node, epoch=epoch, ttl_s=ttl_s, after=after)


def renew(node: str, epoch: int, *, held: bool = True, ttl_s: float = TTL_S) -> Renew:
    return Renew(node=node, epoch=epoch, ttl_s=ttl_s, held=held)


def restarted(leases: Leases, at_s: float) -> Leases:
    after = Leases(at_s)
    for cluster, module, entry in leases.all():
        after.restore(cluster, module, entry.record)
    return after
