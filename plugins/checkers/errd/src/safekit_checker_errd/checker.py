"""Down the instant that too few of a service's processes are left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from safekit_checker_errd.config import ErrdConfig
from safekit_checker_errd.finding import BlindError, Finder, Own, check_view
from safekit_checker_errd.repairing import Repairs
from safekit_checker_errd.roster import Roster
from safekit_checker_errd.scanner import Scanner
from safekit_sdk import Checker, Context, Health, ModuleKind, Verdict
from safekit_sdk.surroundings import account

_SHOWN_PIDS = 8
_AGAIN_S = 0.1
"""Between looks for what a repair has started."""


class ErrdChecker(Checker[ErrdConfig], api=1):
    """Down the instant that too few of a service's processes are left."""

    facts: ClassVar[Mapping[str, str]] = {
        "count": "how many of the processes run",
        "pids": "the first of their numbers",
        "wanted": "how many are wanted",
        "died": "the number of the one that died last",
        "process": "its name",
        "how": "how it ended",
    }

    def __init__(self, config: ErrdConfig, context: Context) -> None:
        super().__init__(config, context)
        own = Own(context.cgroup, f"{context.node}/{context.module}/") if config.own else None
        self._scanner = Scanner(Finder(config.wanted, own).find)
        self._roster: Roster | None = None
        self._repairs = Repairs(config, context)
        self._others: tuple[str, ...] = ()

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict after every look: each `interval`, and at once when a death leaves too few."""
        with contextlib.closing(Roster()) as roster:
            self._roster = roster
            while True:
                verdict = await self._look(roster)
                if self.config.repair and verdict.health is Health.DOWN and len(roster) < self.config.atleast:
                    verdict = await self._repaired(roster, verdict)
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

    async def _repaired(self, roster: Roster, down: Verdict) -> Verdict:
        """Up when the repair brought enough back in its time, else what was seen and why that did not help."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.repair_timeout.seconds
        if failure := self._repairs.worn_out or await self._repairs.run(down.reason):
            return Verdict.down(f"{down.reason}; {failure}", **down.facts)
        while True:
            verdict = await self._look(roster)
            if verdict.health is Health.UP:
                return Verdict.up(f"{verdict.reason}; repaired, after {down.reason}", **verdict.facts)
            if loop.time() >= deadline_s:
                return Verdict.down(f"{verdict.reason}; the repair did not bring them back", **down.facts)
            await asyncio.sleep(_AGAIN_S)

    async def _look(self, roster: Roster) -> Verdict:
        """Before a death is called down, all processes are looked at once more: a graceful restart has put
        another one in its place, which is not known yet."""
        died = len(roster) < self.config.atleast and bool(roster.deaths)
        try:
            found = await self._scanner.scan(self.config.timeout.seconds)
            roster.update(found.counted)
            self._others = found.others
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
        reason = f"{self._counted(roster)}, wanted {limits}{_told(roster)}{self._told_others()}{doubt}"
        return Verdict.down(reason, wanted=limits, **_facts(roster))

    def _told_others(self) -> str:
        return "".join(f"; {other}" for other in self._others)

    def _counted(self, roster: Roster) -> str:
        return f"{len(roster)} {self.config.label} {'runs' if len(roster) == 1 else 'run'}"

    @classmethod
    def ident(cls, config: ErrdConfig) -> str:
        """`apache2`, or the regular expression with `_` for what an identifier cannot hold."""
        text = config.name or config.wanted.process or config.nameregex or config.argregex or "default"
        safe = re.sub(r"[^A-Za-z0-9_.:-]+", "_", text)[:63]
        return safe if re.match(r"[A-Za-z0-9_]", safe) else f"_{safe[:62]}"

    @classmethod
    def preflight(cls, config: ErrdConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        found = []
        try:
            check_view()
        except (BlindError, OSError) as blind:
            found.append(str(blind))
        if config.user is not None and not account(config.user):
            found.append(f"there is no user '{config.user}'; create it, or name another one")
        if config.program is not None and not config.program.is_file():
            found.append(f"the program {config.program} is not there; install it, or correct `program:`")
        if config.repair is not None and not os.access(config.repair[0], os.X_OK):
            found.append(f"{config.repair[0]} is not there or not executable; correct `repair:` or its mode")
        return found


def _told(roster: Roster) -> str:
    return "".join(f"; {death}" for death in roster.deaths)


def _facts(roster: Roster) -> dict[str, str]:
    more = " …" if len(roster) > _SHOWN_PIDS else ""
    facts = {"count": str(len(roster)), "pids": " ".join(map(str, roster.pids[:_SHOWN_PIDS])) + more}
    if roster.deaths:
        last = roster.deaths[-1]
        facts |= {"died": str(last.pid), "process": last.name, "how": last.how}
    return facts
