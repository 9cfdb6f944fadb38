"""Down the instant that too few of a service's processes are left."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from safekit_checker_errd.finding import BlindError, Finder, Own, Wanted, check_view
from safekit_checker_errd.roster import Roster
from safekit_checker_errd.scanner import Scanner
from safekit_sdk import Checker, CheckerConfig, Context, Duration, FailureAction, Health, ModuleKind, Verdict

INTERVAL_MIN = Duration(0.1)
_SHOWN_PIDS = 8


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    return text


Regex = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_compiles)]


class ErrdConfig(CheckerConfig):
    process: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Exact name: the kernel's (`ps -o comm`), or the last part of the path it was called by or runs from."""
    nameregex: Regex | None = None
    """Searched in each of these names; instead of `process`."""
    argregex: Regex | None = None
    """Searched in the command line as `ps -o args` shows it, its first 8,192 characters."""
    atleast: int = Field(default=1, ge=0, le=10_000)
    """Fewer is down."""
    atmax: int = Field(default=-1, ge=-1, le=10_000)
    """More is down, seen at the next look; -1 is no limit."""
    leader: bool = False
    """Count session leaders only: a server's main process, not the workers that outlive it."""
    own: bool = False
    """Count only what this module started: the processes in its cgroup, or with its marker where there is none."""
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

    @model_validator(mode="after")
    def _says_which(self) -> ErrdConfig:
        if self.process and self.nameregex:
            raise ValueError("give process or nameregex, not both")
        if not (self.process or self.nameregex or self.argregex):
            raise ValueError("say which processes: give process, nameregex or argregex")
        if -1 < self.atmax < self.atleast:
            raise ValueError(f"atmax {self.atmax} is less than atleast {self.atleast}")
        return self

    @property
    def wanted(self) -> Wanted:
        name, args = (re.compile(regex) if regex else None for regex in (self.nameregex, self.argregex))
        return Wanted(self.process, name, args, self.leader)

    @property
    def label(self) -> str:
        """What is looked for, as the operator wrote it."""
        parts = (self.process, self.nameregex and f"/{self.nameregex}/", self.argregex and f"with /{self.argregex}/")
        return " ".join(part for part in parts if part)


class ErrdChecker(Checker[ErrdConfig], api=1):
    """Down the instant that too few of a service's processes are left."""

    def __init__(self, config: ErrdConfig, context: Context) -> None:
        super().__init__(config, context)
        own = Own(context.cgroup, f"{context.node}/{context.module}/") if config.own else None
        self._scanner = Scanner(Finder(config.wanted, own).find)
        self._roster: Roster | None = None

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict after every look: each `interval`, and at once when a death leaves too few."""
        with contextlib.closing(Roster()) as roster:
            self._roster = roster
            while True:
                verdict = await self._look(roster)
                yield verdict
                alert = verdict.health is Health.UP or len(roster) >= self.config.atleast
                await self._rest(roster, alert)

    async def close(self) -> None:
        if self._roster is not None:
            self._roster.close()

    async def _rest(self, roster: Roster, alert: bool) -> None:
        """Until the next look is due. On the alert, a death that leaves too few makes it due."""
        pause_s = self.config.interval.seconds
        if not alert:
            await asyncio.sleep(pause_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await roster.wait_below(self.config.atleast)

    async def _look(self, roster: Roster) -> Verdict:
        """Before a death is called down, all processes are looked at once more: a graceful restart has put
        another one in its place, which is not known yet."""
        died = len(roster) < self.config.atleast and bool(roster.deaths)
        try:
            roster.update(await self._scanner.scan(self.config.timeout.seconds))
        except BlindError as blind:
            if died:
                return self._down(roster, f"; {blind}, so whether another took its place is not known")
            return Verdict.unknown(f"{self.config.label}: {blind}")
        return self._judge(roster)

    def _judge(self, roster: Roster) -> Verdict:
        count, most = len(roster), self.config.atmax
        if count < self.config.atleast or -1 < most < count:
            return self._down(roster)
        reason = f"{self._counted(roster)}{_told(roster)}"
        roster.deaths.clear()
        return Verdict.up(reason, **_facts(roster))

    def _down(self, roster: Roster, doubt: str = "") -> Verdict:
        most = f", at most {self.config.atmax}" if self.config.atmax > -1 else ""
        limits = f"at least {self.config.atleast}{most}"
        reason = f"{self._counted(roster)}, wanted {limits}{_told(roster)}{doubt}"
        return Verdict.down(reason, wanted=limits, **_facts(roster))

    def _counted(self, roster: Roster) -> str:
        return f"{len(roster)} {self.config.label} {'runs' if len(roster) == 1 else 'run'}"

    @classmethod
    def ident(cls, config: ErrdConfig) -> str:
        """`apache2`, or the regular expression with `_` for what an identifier cannot hold."""
        text = config.name or config.process or config.nameregex or config.argregex or "default"
        safe = re.sub(r"[^A-Za-z0-9_.:-]+", "_", text)[:63]
        return safe if re.match(r"[A-Za-z0-9_]", safe) else f"_{safe[:62]}"

    @classmethod
    def preflight(cls, config: ErrdConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        try:
            check_view()
        except (BlindError, OSError) as blind:
            return [str(blind)]
        return []


def _told(roster: Roster) -> str:
    return "".join(f"; {death}" for death in roster.deaths)


def _facts(roster: Roster) -> dict[str, str]:
    more = " …" if len(roster) > _SHOWN_PIDS else ""
    facts = {"count": str(len(roster)), "pids": " ".join(map(str, roster.pids[:_SHOWN_PIDS])) + more}
    if roster.deaths:
        last = roster.deaths[-1]
        facts |= {"died": str(last.pid), "process": last.name, "how": last.how}
    return facts
