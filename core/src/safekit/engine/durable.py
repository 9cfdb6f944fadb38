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
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Durable:
    modules: tuple[ModuleFacts, ...] = ()


def facts_of(module: Module) -> ModuleFacts:
    m = module
    return ModuleFacts(m.spec.name, m.epoch, m.was_primary, m.active, m.desired, m.failover, m.share.weight)


def recalled(module: Module, facts: ModuleFacts) -> Module:
    return replace(
        module,
        epoch=facts.epoch,
        was_primary=facts.was_primary,
        active=facts.active,
        desired=facts.desired,
        failover=facts.failover,
        share=Share(held=ALL if facts.active else 0, weight=facts.weight),
    )
