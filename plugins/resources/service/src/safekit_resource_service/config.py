"""What a module file says about a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from safekit_sdk import Duration, ResourceConfig


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path; begin it with /")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Argv = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=256)]

_BELONGS_TO = {
    "pidfile": ("scripts", "command"),
    "user": ("scripts", "command"),
    "directory": ("scripts", "command"),
    "stop_command": ("command",),
    "reload": ("command",),
    "settle": ("command",),
    "when": ("command", "unit"),
}


class ServiceConfig(ResourceConfig):
    """Exactly one of scripts, command and unit."""

    scripts: AbsolutePath | None = None
    """A directory of executables named prestart, poststop, start_prim, stop_prim, start_both, stop_both, start_second,
    stop_second, start_sec, stop_sec, transition; those that are there are run."""
    command: Argv | None = None
    """A program that stays in the foreground; with `pidfile`, one that goes to the background by itself."""
    unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@\\-]{1,255}$")] | None = None
    """A unit of systemd: `postgresql.service`."""
    stop_command: Argv | None = None
    """Run for a graceful stop of `command`; SIGTERM to its main process when absent."""
    reload: Argv | None = None
    """Run when the module's state changes while `command` runs, for a program that has to know its role."""
    pidfile: AbsolutePath | None = None
    """Where the program writes the id of its main process, which is then watched."""
    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Who runs the scripts or commands; root when absent."""
    directory: AbsolutePath | None = None
    """Their working directory; / when absent."""
    settle: Duration = Duration(0.1)
    """A `command` without `pidfile` that ends within this time has failed to start."""
    log_size_kb: int = Field(default=2048, ge=1, le=1 << 20)
    """What scripts and commands write goes to a log of at most this size; one earlier log is kept."""

    @model_validator(mode="after")
    def _exactly_one_form(self) -> ServiceConfig:
        forms = [form for form in ("scripts", "command", "unit") if getattr(self, form) is not None]
        if len(forms) != 1:
            given = f"{' and '.join(forms)} are given" if forms else "none is given"
            raise ValueError(f"give exactly one of scripts, command, unit; {given}")
        for key, allowed in _BELONGS_TO.items():
            if getattr(self, key) != type(self).model_fields[key].default and forms[0] not in allowed:
                raise ValueError(f"'{key}' goes with {' or '.join(allowed)}, not with {forms[0]}; remove it")
        return self
