"""What a module file says about a program that checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from safekit_sdk import CheckerConfig, Duration

INTERVAL_MIN = Duration(0.1)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path; begin it with /")
    return path


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument cannot contain a NUL character")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Argument = Annotated[str, Field(max_length=4096), AfterValidator(_no_nul)]
Argv = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=256)]
ExitCode = Annotated[int, Field(ge=0, le=255)]
ExitCodes = Annotated[tuple[ExitCode, ...], Field(min_length=1, max_length=256)]
_OF_RUNS = ("up", "down", "others")


class CustomConfig(CheckerConfig):
    command: Argv
    """The program and its arguments, as a list; no shell is involved."""
    loop: bool = False
    """It runs on and prints a line `up`, `down` or `unknown`, and what it saw, for each verdict. Without, it is run
    every `interval` and its exit code is the verdict."""
    up: ExitCodes = (0,)
    """Exit codes that mean up."""
    down: ExitCodes = (1,)
    """Exit codes that mean down."""
    others: Literal["unknown", "down"] = "unknown"
    """What every other exit code means. A program that a signal ended is always unknown."""
    silence: Duration = Duration(30)
    """With `loop`: a program that prints no verdict for so long hangs; it is killed, and begun again."""
    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Who runs it; root when absent."""
    directory: AbsolutePath | None = None
    """Its working directory; / when absent."""
    interval: Duration = Duration(10)
    """From the start of one run to the start of the next. At least 100ms."""
    timeout: Duration = Duration(5)
    """A run that takes longer is killed, with all that it started, and counts as unknown."""

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, command: Argv) -> Argv:
        if not command[0]:
            raise ValueError("the first element of command is the program; it is empty")
        return command

    @field_validator("interval")
    @classmethod
    def _not_all_the_time(cls, interval: Duration) -> Duration:
        if interval < INTERVAL_MIN:
            raise ValueError(f"an interval of {interval} would keep a processor busy; at least {INTERVAL_MIN}")
        return interval

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if both := set(self.up) & set(self.down):
            raise ValueError(f"exit code {min(both)} cannot mean up and down")
        if self.loop and (given := [key for key in _OF_RUNS if key in self.model_fields_set]):
            raise ValueError(f"'{given[0]}' goes without `loop`: a looping program says its verdicts in lines")
        if not self.loop and "silence" in self.model_fields_set:
            raise ValueError("'silence' goes with `loop: true`; a single run has `timeout`")
        return self

    @property
    def place(self) -> Path:
        return self.directory or Path("/")

    @property
    def label(self) -> str:
        """The program, without its directory: arguments may be secrets."""
        return Path(self.command[0]).name or self.command[0]
