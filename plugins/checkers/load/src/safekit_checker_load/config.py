"""What a module file says about how much of the machine may be used up."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from safekit_sdk import CheckerConfig, Duration, FailureAction

INTERVAL_MIN = Duration(0.1)
LIMITS = (
    "load_per_cpu",
    "memory_available_percent",
    "swap_free_percent",
    "cpu_pressure",
    "memory_pressure",
    "io_pressure",
    "memory_events",
    "machine_oom_kill",
)
PRESSURES = ("cpu_pressure", "memory_pressure", "io_pressure")
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
MemoryEvent = Literal["high", "max", "oom", "oom_kill"]


class LoadConfig(CheckerConfig):
    load_per_cpu: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    """More is down: the load average, divided by the number of processors."""
    load_average: Literal["1m", "5m", "15m"] = "5m"
    """Over how long the load is averaged."""
    memory_available_percent: Percent | None = None
    """Less is down: what the kernel could give to programs without swapping, of all memory."""
    swap_free_percent: Percent | None = None
    """Less is down. A machine without swap is never down for it."""
    cpu_pressure: Percent | None = None
    """More is down: percent of the time in which some task waited for a processor."""
    memory_pressure: Percent | None = None
    """More is down: percent of the time in which no task got on, all that could waited for memory."""
    io_pressure: Percent | None = None
    """More is down: percent of the time in which no task got on, all that could waited for a disk."""
    pressure_average: Literal["10s", "60s", "300s"] = "60s"
    """Over how long pressure is averaged."""
    pressure_of: Literal["machine", "module"] = "machine"
    """Whose tasks: all of the machine, or those in the module's cgroup."""
    memory_events: Annotated[tuple[MemoryEvent, ...], Field(max_length=4)] = ()
    """Which events of the module's cgroup are down, for as long as `hold`: `oom_kill`, a process was killed because
    memory was short; `oom`, memory could not be given; `max`, `high`, a limit was reached."""
    machine_oom_kill: bool = False
    """The kernel killed a process because memory was short, of the module or not: down for as long as `hold`."""
    hold: Duration = Duration(30)
    """How long after such an event it says down."""
    interval: Duration = Duration(5)
    """From the start of one look to the start of the next. At least 100ms."""
    timeout: Duration = Duration(5)
    """A look that takes longer counts as unknown: the node stood still."""
    action: FailureAction = "none"
    """What the generated rule does. A machine that has much to do is rarely helped by a restart."""

    @field_validator("interval")
    @classmethod
    def _not_all_the_time(cls, interval: Duration) -> Duration:
        if interval < INTERVAL_MIN:
            raise ValueError(f"an interval of {interval} would keep a processor busy; at least {INTERVAL_MIN}")
        return interval

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if all(getattr(self, key) in (None, (), False) for key in LIMITS):
            raise ValueError(f"say what is down: give at least one of {', '.join(LIMITS)}")
        if "hold" in self.model_fields_set and not (self.memory_events or self.machine_oom_kill):
            raise ValueError("'hold' goes with memory_events or machine_oom_kill")
        return self

    def pressure_limits(self) -> dict[str, float]:
        """By resource: `cpu`, `memory`, `io`."""
        limits = {key.removesuffix("_pressure"): getattr(self, key) for key in PRESSURES}
        return {resource: limit for resource, limit in limits.items() if limit is not None}
