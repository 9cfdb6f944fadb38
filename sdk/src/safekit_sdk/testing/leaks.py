"""What a plugin left behind in the process that ran it: descriptors, tasks, child processes."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from safekit_sdk.procfs import all_pids, process_stat

SETTLE_S = 5.0
"""How long what was closed may take to be gone: transports close in a later turn of the loop."""
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Belongings:
    """What this process holds at one moment, in words for a message."""

    held: frozenset[str]

    @classmethod
    def now(cls, *, zombies: bool = True) -> Belongings:
        """`zombies`: count children that ended and were not waited for."""
        return cls(frozenset({*_descriptors(), *_tasks(), *_children(zombies)}))


def _descriptors() -> list[str]:
    found = []
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all it needs
        try:
            target = str(Path(f"/proc/self/fd/{entry}").readlink())
        except OSError:
            continue
        found.append(f"descriptor {entry} ({target})")
    return found


def _tasks() -> list[str]:
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return []
    return [f"task {task.get_name()} ({task.get_coro()})" for task in tasks]


def _children(zombies: bool) -> list[str]:
    stats = (process_stat(pid) for pid in all_pids())
    mine = [stat for stat in stats if stat and stat.parent_pid == os.getpid() and (zombies or stat.alive)]
    return [f"child {stat.pid} ({stat.name}{'' if stat.alive else ', ended but never waited for'})" for stat in mine]


async def left_since(before: Belongings, *, zombies: bool = True) -> list[str]:
    """What is held now and was not before, after waiting for it to go; empty when nothing is left."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        left = sorted(Belongings.now(zombies=zombies).held - before.held)
        if not left or time.monotonic() > deadline_s:
            return left
        await asyncio.sleep(_LOOK_S)
