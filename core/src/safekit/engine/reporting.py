"""What a module's heartbeat says, made from its state."""

from __future__ import annotations

from typing import Final

from safekit.engine import data
from safekit.engine.module import Module
from safekit.engine.reports import FarmReport, ModuleReport
from safekit.engine.share import PLACE
from safekit.engine.spec import Kind

MAX_TOLD: Final = 64
MAX_TOLD_CHARS: Final = 16
"""Rules know shorter words only."""


def report(module: Module) -> ModuleReport:
    is_farm = module.spec.kind is Kind.FARM
    return ModuleReport(
        state=module.state,
        readiness=module.readiness,
        epoch=module.epoch,
        active=module.active,
        was_primary=module.was_primary,
        took_over=module.took_over,
        doubtful=module.doubtful,
        handover=module.handover,
        claim=module.claim,
        acknowledged=module.acknowledged,
        up_to_date=data.up_to_date(module),
        alone_epoch=module.alone_epoch,
        failover=module.failover,
        lease_s=module.spec.lease_s,
        signature=module.spec.signature,
        reason=module.reason,
        places=() if is_farm else places(module),
        values=told(module) if module.spec.told else (),
        farm=_farm_report(module) if is_farm else None,
    )


def told(module: Module) -> tuple[tuple[str, str], ...]:
    """In the order of names: the same values are the same report."""
    asked = frozenset(module.spec.told)
    found = [
        (name, value.value[:MAX_TOLD_CHARS])
        for name, value in sorted(module.values.items())
        if name in asked or f"{name.partition('.')[0]}.*" in asked
    ]
    return tuple(found[:MAX_TOLD])


def _farm_report(module: Module) -> FarmReport:
    share = module.share
    return FarmReport(share.map, share.held, share.serving, module.weight, places(module))


def places(module: Module) -> tuple[tuple[str, str], ...]:
    return tuple((name.removeprefix(PLACE), v.value) for name, v in module.values.items() if name.startswith(PLACE))
