"""What a module file says about an OCF resource agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)

from safekit_sdk import Duration, ResourceConfig, Secret

ROOT: Final = "/usr/lib/ocf"
"""Where the standard has the agents, below `resource.d`."""


def _no_fraction(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"{value} may not be what was written; put it in quotes")
    return value


def _not_of_the_cluster(name: str) -> str:
    if name.startswith("CRM_meta_"):
        raise ValueError(f"'{name}' is said to the agent at each call; remove it")
    return name


Text = Annotated[str, StringConstraints(strict=True, max_length=16384, pattern=r"^[^\x00]*$")]
Value = Annotated[StrictBool | StrictInt | Text, BeforeValidator(_no_fraction)]
ParameterName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$"), AfterValidator(_not_of_the_cluster)
]


class OcfConfig(ResourceConfig):
    agent: str = Field(pattern=r"^(ocf:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """The agent as `PROVIDER:TYPE`: `heartbeat:IPaddr2`. `safekit ocf list` shows those of this machine."""
    parameters: Annotated[dict[ParameterName, Value], Field(max_length=128)] = Field(default_factory=dict)
    """What the agent is told; `safekit ocf show AGENT` prints them all. They are compared with what the agent says of
    itself where it is installed."""
    secrets: Annotated[dict[ParameterName, Secret], Field(max_length=16)] = Field(default_factory=dict)
    """Parameters that are secret, each as `env:NAME` or `file:/path`: `passwd: file:/etc/safekit/secrets/db`."""
    promotable: bool = False
    """In a mirror: start it on both nodes, and promote it on the one that is primary. The agent has to be able to."""
    notify: bool = True
    """Tell a promotable agent of what is about to happen and has happened, by its action `notify`, where it has one."""
    interval: Duration | None = None
    """Time from the start of one monitor to the start of the next; what the agent advises when absent, or 10s. At
    least 1s."""
    monitor_timeout: Duration | None = None
    """How long a monitor may take; what the agent advises when absent, or 20s."""
    check_level: int = Field(default=0, ge=0, le=100)
    """How deep the monitor looks (OCF_CHECK_LEVEL): one of the depths that the agent has."""
    hang_limit: int = Field(default=3, ge=0, le=100)
    """After so many monitors in a row that did not end in time it is down; before, it is unknown. 0: never."""
    root: str = Field(default=ROOT, pattern=r"^/[^\x00]{1,255}$")
    """The directory in which the agent is `resource.d/PROVIDER/TYPE` (OCF_ROOT)."""
    start_timeout: Duration = Duration(200)
    """A start or a promotion that takes longer has failed. The agent is given nine tenths of it when it is written
    here, else what the agent advises."""
    stop_timeout: Duration = Duration(200)
    """A graceful stop that takes longer is followed by a forced one. The agent is given as much of it as of a start."""
    force_stop_timeout: Duration = Duration(60)
    """A forced stop that takes longer has failed: the resource may still run, and the module is stuck."""

    @property
    def provider(self) -> str:
        return self.agent.removeprefix("ocf:").partition(":")[0]

    @property
    def type(self) -> str:
        return self.agent.rpartition(":")[2]

    @property
    def path(self) -> Path:
        return Path(self.root) / "resource.d" / self.provider / self.type

    @property
    def plain(self) -> dict[str, str]:
        """The parameters that are no secrets, as the agent gets them."""
        return {name: _as_text(value) for name, value in self.parameters.items()}

    @field_validator("interval")
    @classmethod
    def _is_no_storm(cls, interval: Duration | None) -> Duration | None:
        if interval is not None and interval.seconds < 1:
            raise ValueError(f"{interval} is too short for a program that is started anew each time; 1s at least")
        return interval

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if both := sorted(set(self.parameters) & set(self.secrets)):
            raise ValueError(f"'{both[0]}' is in `parameters` and in `secrets`; remove one")
        if self.promotable and self.when not in (None, "both"):
            raise ValueError("when: what is promoted has to be started in both roles; remove `when`")
        return self


def _as_text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
