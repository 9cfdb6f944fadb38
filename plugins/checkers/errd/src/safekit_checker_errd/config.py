"""What a module file says about the processes that a service is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from safekit_checker_errd.finding import Wanted
from safekit_sdk import CheckerConfig, Duration, FailureAction

INTERVAL_MIN = Duration(0.1)


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    return text


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path; begin it with /")
    return path


Regex = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_compiles)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Argument = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Repair = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=256)]


class ErrdConfig(CheckerConfig):
    process: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Exact name: the kernel's (`ps -o comm`), or the last part of the path it was called by or runs from."""
    nameregex: Regex | None = None
    """Searched in each of these names; instead of `process`."""
    argregex: Regex | None = None
    """Searched in the command line as `ps -o args` shows it, its first 8,192 characters."""
    program: AbsolutePath | None = None
    """The file that it runs, exactly: another program of the same name does not count."""
    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Who it runs as; a process of the same name that another user runs does not count."""
    pid_file: AbsolutePath | None = None
    """Only the process whose number is in this file counts: of several servers of one name, the one."""
    stopped_is_down: bool = False
    """Whether a process that is stopped (state T, as after SIGSTOP) does not count; seen at the next look."""
    atleast: int = Field(default=1, ge=0, le=10_000)
    """Fewer is down."""
    atmax: int = Field(default=-1, ge=-1, le=10_000)
    """More is down, seen at the next look; -1 is no limit."""
    leader: bool = False
    """Count session leaders only: a server's main process, not the workers that outlive it."""
    own: bool = False
    """Count only what this module started: the processes in its cgroup, or with its marker where there is none."""
    repair: Repair | None = None
    """A program and its arguments that is run when too few are left, before that is called down."""
    repair_timeout: Duration = Duration(30)
    """How long the repair may take until enough run again; the program is killed then, and it is down."""
    repairs: int = Field(default=3, ge=1, le=100)
    """How many repairs are tried within `repairs_within`; after that it is down at once."""
    repairs_within: Duration = Duration(86400)
    """The time in which `repairs` are counted."""
    interval: Duration = Duration(2)
    """Between looks for new processes; a death needs none. At least 100ms."""
    timeout: Duration = Duration(5)
    """A look at /proc that takes longer counts as unknown."""
    action: FailureAction = "stopstart"
    """What the generated rule does when the verdict is down."""

    @field_validator("interval")
    @classmethod
    def _not_all_the_time(cls, interval: Duration) -> Duration:
        if interval < INTERVAL_MIN:
            raise ValueError(f"an interval of {interval} would keep a processor busy; at least {INTERVAL_MIN}")
        return interval

    @field_validator("repair")
    @classmethod
    def _names_a_program(cls, repair: Repair | None) -> Repair | None:
        if repair is not None and not repair[0].startswith("/"):
            raise ValueError(f"'{repair[0]}' is not the absolute path of a program; begin it with /")
        return repair

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.process and self.nameregex:
            raise ValueError("give process or nameregex, not both")
        if not (self.process or self.nameregex or self.argregex or self.program):
            raise ValueError("say which processes: give process, nameregex, argregex or program")
        if -1 < self.atmax < self.atleast:
            raise ValueError(f"atmax {self.atmax} is less than atleast {self.atleast}")
        if self.pid_file and self.atleast > 1:
            raise ValueError("a pid file names one process; with pid_file, atleast is 0 or 1")
        if self.repair is None and (given := {"repair_timeout", "repairs", "repairs_within"} & self.model_fields_set):
            raise ValueError(f"'{min(given)}' goes with `repair`")
        return self

    @property
    def wanted(self) -> Wanted:
        name, args = (re.compile(regex) if regex else None for regex in (self.nameregex, self.argregex))
        process = self.program.name if self.program and not (self.process or name or args) else self.process
        return Wanted(
            process, name, args, self.leader, self.program, self.user, self.pid_file, not self.stopped_is_down
        )

    @property
    def label(self) -> str:
        """What is looked for, as the operator wrote it."""
        named = self.process or (self.nameregex and f"/{self.nameregex}/")
        parts = (named, self.program and str(self.program), self.argregex and f"with /{self.argregex}/")
        return " ".join(part for part in parts if part)
