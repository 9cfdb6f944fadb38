"""What a module file says about another module."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safekit_sdk import CheckerConfig, Duration, FailureAction, Ident, Scope

State = Literal["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"]


class ModuleConfig(CheckerConfig):
    module: Ident
    """The other module, of this cluster."""
    on: Ident = "this"
    """Where: `this` node, `any` node, or the name of one."""
    states: Annotated[tuple[State, ...], Field(min_length=1, max_length=6)] = ("ALONE", "PRIM", "UP")
    """In which of its states it is up."""
    ready: bool = True
    """Only when it is Ready, not while it is still starting."""
    restarted: bool = False
    """Also down, for one check, when its service was started anew since the last one: by a failover, for one."""
    interval: Duration = Duration(10)
    """Time from the start of one check to the start of the next."""
    when: Scope | None = "pre"
    """From before the module starts, so that it waits for the other one."""
    action: FailureAction = "wait"
    """What the generated rule does when the verdict is down."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.ready and set(self.states) == {"STOP"}:
            raise ValueError("a stopped module is never Ready; with states [STOP] say ready: false")
        return self
