"""One module on this node, as `safekit doctor` looks at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from safekit import engine
from safekit.config import bundle
from safekit.config.compiled import CompiledModule
from safekit.config.store import Store
from safekit.diagnosis.facts import FarmFacts, ModuleFacts, TroubleFacts, WitnessFacts
from safekit.engine import data
from safekit.engine.view import ModuleView
from safekit_sdk import SafekitError

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon

MAX_TROUBLES: Final = 100
_OWN_FINDINGS: Final = frozenset({data.UP_TO_DATE, data.HOLDING})
"""Values that are told by findings of their own, and mean no trouble by being down."""


def module_facts(daemon: Daemon, name: str, *, edited: bool) -> ModuleFacts | None:
    """None for a module in which this node has no part."""
    view = engine.view(daemon.runtime.node, name, time.monotonic())
    if view is None:
        return None
    installed = daemon.configuration.modules[name]
    compiled = installed.compiled
    node, report = daemon.runtime.node, dict(engine.reports(daemon.runtime.node))[name]
    return ModuleFacts(
        name=name,
        kind=compiled.kind,
        nodes=compiled.nodes,
        state=view.state,
        readiness=view.readiness,
        reason=view.reason[:4096],
        since_s=view.since_s,
        desired=view.desired,
        active=view.active,
        failover=view.failover,
        loops=view.loops,
        max_loops=compiled.max_loops,
        up_to_date=report.up_to_date,
        holding=data.is_holding(node.modules[name]),
        isolation=compiled.isolation,
        witness=_witness(compiled, view),
        has_fence=compiled.fences,
        lost_after_s=compiled.heartbeat.lost_after.seconds,
        interval_s=compiled.heartbeat.interval.seconds,
        signature=installed.signature,
        edited=edited,
        packages=tuple(compiled.packages),
        troubles=tuple(_troubles(daemon.hosts.steps(name), compiled, view))[:MAX_TROUBLES],
        farm=_farm(view),
    )


def _witness(compiled: CompiledModule, view: ModuleView) -> WitnessFacts | None:
    witness = compiled.witness
    if witness is None:
        return None
    said = next((value for value in view.values if value.resource == witness.resource), None)
    return WitnessFacts(
        plugin=witness.plugin,
        resource=witness.resource,
        lease_s=witness.lease_s,
        timeout_s=witness.timeout_s,
        exclusive=witness.exclusive,
        value=said.value if said is not None else "",
        reason=said.reason if said is not None else "",
    )


def _troubles(steps: list[dict[str, str]], compiled: CompiledModule, view: ModuleView) -> Iterator[TroubleFacts]:
    """Verdicts that are not well, and steps that failed."""
    told = {*_OWN_FINDINGS, *([compiled.witness.resource] if compiled.witness is not None else [])}
    for value in view.values:
        if value.value in {"down", "unknown"} and value.resource not in told:
            told.add(value.resource)
            yield TroubleFacts(resource=value.resource, value=value.value, reason=value.reason[:4096])
    for step in steps:
        if step["state"] in {"failed", "warning"} and step["step"] not in told:
            yield TroubleFacts(resource=step["step"], value=step["state"], reason=step["detail"][:4096])


def _farm(view: ModuleView) -> FarmFacts | None:
    farm = view.farm
    if farm is None:
        return None
    return FarmFacts(serving=farm.serving, weight=farm.weight, unowned=sum(not owner for owner in farm.owners))


def is_edited(store: Store, name: str) -> bool:
    """Whether its files under etc are not those in force. A copy that is not there is no edit."""
    try:
        files: dict[str, Any] = store.edited(name)
        return bundle.digest(files) != store.digest(name)
    except SafekitError:
        return False
