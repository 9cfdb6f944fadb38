"""Which node of a farm owns which bucket of clients. Pure: the same nodes and weights give the same map everywhere.

A client belongs to one of BUCKETS buckets by a hash of its address; a node's share of the buckets is its share of the
weights. A map that follows another keeps what it can (sticky quota): only the buckets of a node that goes, or those
that a node has too many of, get another owner. A map from scratch is balanced rendezvous hashing: each bucket goes to
the node with the highest score for it that still has room.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

BUCKETS: Final = 256
NOBODY: Final = ""
Owners = tuple[str, ...]
"""The owner of each bucket, NOBODY for none; BUCKETS long."""


def quotas(weights: Mapping[str, int]) -> dict[str, int]:
    """How many buckets each node is to have: in proportion to the weights (0 and more), by largest remainders, the
    node whose name comes first before others. They add up to BUCKETS, or to 0 when no weight is above 0."""
    total = sum(weights.values())
    if total == 0:
        return dict.fromkeys(weights, 0)
    whole = {node: BUCKETS * weight // total for node, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda node: (-(BUCKETS * weights[node] % total), node))
    for node in by_remainder[: BUCKETS - sum(whole.values())]:
        whole[node] += 1
    return whole


def score(node: str, bucket: int) -> bytes:
    """Who should have a bucket, all else being equal: the node with the highest score."""
    return hashlib.blake2b(f"{bucket}/{node}".encode(), digest_size=8).digest()


def assign(weights: Mapping[str, int], before: Sequence[str] = ()) -> Owners:
    """The map for these nodes, as close to the one before as their quotas allow. Nodes of weight 0 own nothing."""
    room = quotas(weights)
    owners = _kept(before, room) if before else [NOBODY] * BUCKETS
    for owner, count in Counter(owners).items():
        if owner != NOBODY:
            room[owner] -= count
    for bucket, owner in enumerate(owners):
        if owner == NOBODY:
            owners[bucket] = _best(bucket, room)
            if owners[bucket] != NOBODY:
                room[owners[bucket]] -= 1
    return tuple(owners)


def _kept(before: Sequence[str], quota: Mapping[str, int]) -> list[str]:
    """What stays: of each node as many as it may have, those for which its score is highest."""
    owners = [NOBODY] * BUCKETS
    for node, most in quota.items():
        owned = [bucket for bucket, owner in enumerate(before) if owner == node]
        for bucket in sorted(owned, key=lambda bucket: score(node, bucket), reverse=True)[:most]:
            owners[bucket] = node
    return owners


def _best(bucket: int, room: Mapping[str, int]) -> str:
    free = [node for node, left in room.items() if left > 0]
    return max(free, key=lambda node: score(node, bucket), default=NOBODY)


def moved(before: Sequence[str], after: Sequence[str]) -> int:
    """How many buckets have another owner."""
    return sum(old != new for old, new in zip(before, after, strict=True))
