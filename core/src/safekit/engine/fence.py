"""A node that was lost is cut off from power before another relies on it that it runs nothing.

Who was secondary fences before it takes over. Who is primary and replicates data fences before it acknowledges what its
secondary lacks, where no witness keeps that one from taking over. Both would do so at one time when only the network
between them was cut: the secondary begins `YIELD_S` later, and is off by then.
"""

from __future__ import annotations

import math
from typing import Final

from safekit.engine import right
from safekit.engine.events import PipelineFinished
from safekit.engine.module import Module, Turn
from safekit.engine.reports import Readiness

YIELD_S: Final = 5.0
AGAIN_S: Final = 10.0
"""The pause after an attempt that failed."""
ROW: Final = "fence"


def is_first(turn: Turn) -> bool:
    """True while the peer has to be fenced before anything else: that is begun, or under way, or tried again later."""
    failed_with_lease = turn.m.fence_s > 0 and right.is_exclusive(turn) and right.has(turn)
    if not turn.m.spec.fences or is_done(turn) or failed_with_lease:
        return False
    if turn.now_s >= turn.m.fence_s:
        turn.begin(ROW, f"{turn.peer.node} is silent: it is fenced, so that it runs nothing", severity="warning")
    return True


def yield_first(turn: Turn) -> None:
    """The primary, if it lives, is to come first with fencing where it fences too."""
    if turn.m.spec.has_data and not turn.m.fence_s and not is_done(turn):
        turn.set(fence_s=turn.now_s + YIELD_S)
        why = f"{turn.peer.node} is silent; it is fenced, if it does not come first"
        turn.be(turn.m.state, Readiness.READY, why, "silence")


def is_due(module: Module, now_s: float) -> bool:
    return 0.0 < module.fence_s <= now_s


def ended(turn: Turn, event: PipelineFinished) -> None:
    peer = turn.peer.node
    if event.ok:
        turn.set(fenced_s=turn.now_s, fence_s=0.0)
        turn.be(turn.m.state, Readiness.READY, f"{peer} is fenced", ROW, severity="warning")
        return
    turn.set(fence_s=turn.now_s + AGAIN_S)
    turn.be(
        turn.m.state,
        Readiness.READY,
        f"{peer} could not be fenced and may still run: {event.reason}; tried again every {AGAIN_S:g} s",
        "fence-failed",
        severity="alarm",
        prevent=f"if {peer} is off for sure: `safekit module prim {turn.m.spec.name} --force`",
    )


def is_done(turn: Turn) -> bool:
    """Fenced, and not heard since: a node that is heard later runs."""
    heard_s = turn.now_s - turn.peer.silent_s if turn.peer.report is not None else -math.inf
    return math.isfinite(turn.m.fenced_s) and heard_s <= turn.m.fenced_s


def begin_turn(turn: Turn) -> None:
    """What was put off is for as long as the peer is silent."""
    if turn.peer.alive:
        turn.set(fence_s=0.0)
