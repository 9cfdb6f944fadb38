"""What observers may hear. They watch; nothing they do or fail to do changes a decision.

An observer is a pluggy plugin under the entry-point group `safekit.hooks`. Implementations are plain
functions (never `async def`), called one after the other on a thread behind a bounded queue; one that
raises is logged and dropped.
"""

from __future__ import annotations

import pluggy

PROJECT = "safekit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def state_changed(module: str, node: str, before: str, after: str, why: str) -> None:
    """A module changed its state on this node. States are `STATE/readiness`, as `PRIM/Ready`."""


@hookspec
def verdict_changed(module: str, node: str, checker: str, before: str, after: str, reason: str) -> None:
    """A checker or resource changed its health."""


@hookspec
def failover_started(module: str, node: str, epoch: int, why: str) -> None:
    """This node takes over the module."""


@hookspec
def failover_done(module: str, node: str, epoch: int, duration_s: float) -> None:
    """The take-over ended with the module running; `duration_s` from the decision."""


@hookspec
def check_failed(module: str, node: str, checker: str, error: str) -> None:
    """A checker itself failed or hung (verdict unknown)."""
