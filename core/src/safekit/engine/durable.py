"""What of the state must outlive the process: on disk before the actions of the step that changed it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from safekit.engine.module import Module
from safekit.engine.share import ALL, Share


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    name: str
    epoch: int = 0
    was_primary: bool = False
    active: bool = False
    desired: bool = False
    failover: bool = True
    stood_alone: int = 0
    alone_epoch: int = 0
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Durable:
    modules: tuple[ModuleFacts, ...] = ()


def facts_of(module: Module) -> ModuleFacts:
    m = module
    return ModuleFacts(
        name=m.spec.name,
        epoch=m.epoch,
        was_primary=m.was_primary,
        active=m.active,
        desired=m.desired,
        failover=m.failover,
        stood_alone=m.stood_alone,
        alone_epoch=m.alone_epoch,
        weight=m.share.weight,
    )


def recalled(module: Module, facts: ModuleFacts) -> Module:
    return replace(
        module,
        epoch=facts.epoch,
        was_primary=facts.was_primary,
        active=facts.active,
        desired=facts.desired,
        failover=facts.failover,
        stood_alone=facts.stood_alone,
        alone_epoch=facts.alone_epoch,
        share=Share(held=ALL if facts.active else 0, weight=facts.weight),
    )
