"""The loop that makes time pass and sends the heartbeats: the one that makes progress is the one that says so."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from safekit.bus.nodes import NodeBus
from safekit.daemon.runtime import Runtime
from safekit.engine import events

log = structlog.get_logger("pace")


async def keep_pace(
    runtime: Runtime, bus: NodeBus, extend: Callable[[], None], interval_s: Callable[[], float]
) -> None:
    """One TimePassed and one heartbeat per interval, without drift; a late turn is not made up for. What this node may
    go on doing because the others have heard it follows its heartbeat."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        runtime.submit(events.TimePassed())
        bus.send_beat(runtime.heartbeat())
        extend()
        due_s = max(due_s + interval_s(), loop.time())
        await asyncio.sleep(due_s - loop.time())


def be_realtime() -> list[str]:
    """Real-time priority, locked memory, last in line for the out-of-memory killer; each where allowed.
    Children get none of it. Return what was not allowed."""
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(10))
    except OSError as error:
        refused.append(f"real-time priority: {error.strerror}")
    lock_present_and_future = 3
    if ctypes.CDLL(None, use_errno=True).mlockall(lock_present_and_future) != 0:
        refused.append(f"locked memory: {os.strerror(ctypes.get_errno())}")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-900")
    gc.collect()
    gc.freeze()
    return refused
