"""The bases of every plugin's configuration model: unknown keys are refused, nothing changes after reading."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from safekit_sdk.units import Duration, FailureAction, Ident, Scope


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


PATIENCE = 0.9
"""The part of `timeout` that what is asked is given to answer: the rest is for telling that it did not."""


class CheckerConfig(Config):
    name: Ident | None = None
    """The identifier in rules (`class.name`); derived from the other settings when absent."""
    interval: Duration = Duration(10)
    """Time from the start of one check to the start of the next."""
    timeout: Duration = Duration(5)
    """A check that takes longer is killed and counts as unknown."""
    action: FailureAction = "restart"
    """What the generated rule does when the verdict is down."""
    when: Scope | None = None
    """States in which it runs; while primary (mirror) or running (farm, light) when absent."""
    rise: int = Field(default=1, ge=1, le=100)
    """Good answers in a row before it says up."""
    fall: int = Field(default=1, ge=1, le=100)
    """Bad answers in a row before it says down."""
    start_after: Duration = Duration(0)
    """Time after the start of the module before its first check."""

    @property
    def patience_s(self) -> float:
        """How long a check waits for the thing it watches: nine tenths of `timeout`, so that a silence is
        told as evidence before the host takes the check itself for hung."""
        return self.timeout.seconds * PATIENCE


class ResourceConfig(Config):
    name: Ident | None = None
    """The identifier in rules and in the status; derived from the other settings when absent."""
    when: Scope | None = None
    """States in which it is started; while primary (mirror) or running (farm, light) when absent."""
    action: FailureAction = "stopstart"
    """What the generated rule does when the started resource reports itself down."""
    start_timeout: Duration = Duration(60)
    """A start that takes longer has failed."""
    stop_timeout: Duration = Duration(60)
    """A graceful stop that takes longer is followed by a forced one."""
    force_stop_timeout: Duration = Duration(30)
    """A forced stop that takes longer has failed: the resource may still run, and the module is stuck."""


class AppConfig(ResourceConfig):
    action: FailureAction = "restart"
    """What the generated rule does when the started application reports itself down."""

    @property
    def patience_s(self) -> float:
        """What a start may take, so that its failure is told before the host gives it up."""
        return self.start_timeout.seconds * PATIENCE


class WitnessConfig(Config):
    name: Ident | None = None
    """The identifier in the status and in explanations; derived from the other settings when absent."""
    timeout: Duration = Duration(1)
    """A call that takes longer has not reached the witness."""
    lease: Duration = Duration(10)
    """How long the right to run lasts without being renewed. A node that reaches neither the witness nor its peer stops
    the module within this time, and the peer takes over after it."""

    @property
    def patience_s(self) -> float:
        """How long a call waits for the witness, so that its silence is told before the host gives the call up."""
        return self.timeout.seconds * PATIENCE
