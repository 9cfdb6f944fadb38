"""Up while an own program says so."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import ClassVar

from safekit_checker_custom.config import CustomConfig
from safekit_checker_custom.talker import Talker, signal_name
from safekit_sdk import Checker, ConfigError, Context, Health, ModuleKind, Verdict
from safekit_sdk.cgroup import cgroup_members, remove_cgroup
from safekit_sdk.process import Completed, Family, end_processes, run
from safekit_sdk.surroundings import account, environment, search_path

OUTPUT_BYTES = 4096
"""The end of what a run printed, which is kept."""
REASON_CHARS = 400
LINES_MAX = 50
"""Lines in a second; a program that prints more is broken."""
_VERDICT = re.compile(r"(up|down|unknown)(?:[\s:,-]+(.*))?", re.IGNORECASE)


class CustomChecker(Checker[CustomConfig], api=1):
    """Up while an own program says so: by its exit code, run after run, or in lines that it prints."""

    facts: ClassVar[Mapping[str, str]] = {
        "exit": "the exit code of the run",
        "took_ms": "how long the run took",
    }

    def __init__(self, config: CustomConfig, context: Context) -> None:
        super().__init__(config, context)
        self._family = Family.of(context, f"checker.custom.{context.name}")
        self._last_note = ""

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict after every run, or line. A looping program that ends is begun again after `interval`."""
        loop = asyncio.get_running_loop()
        await self._end_what_is_left()  # of a host that was killed
        while True:
            due_s = loop.time() + self.config.interval.seconds
            if self.config.loop:
                async with contextlib.aclosing(self._listen()) as heard:
                    async for verdict in heard:
                        yield verdict
            else:
                yield await self._run()
            await asyncio.sleep(due_s - loop.time())

    async def close(self) -> None:
        if self._family.cgroup is not None:
            remove_cgroup(self._family.cgroup)

    def _environment(self) -> dict[str, str]:
        return {**environment(self.context, self.config.user), **self._family.environment}

    async def _run(self) -> Verdict:
        home = self._family.home()
        try:
            done = await run(
                self.config.command,
                timeout_s=self.config.timeout.seconds,
                env=self._environment(),
                cwd=self.config.place,
                output_limit_bytes=OUTPUT_BYTES,
                cgroup=home,
                end_cgroup=home is not None,
                user=self.config.user,
                grace_s=0.0,
            )
        except ConfigError as error:
            return Verdict.unknown(_one_line(str(error)))
        left = await self._end_what_is_left()
        return self._judge(done, left)

    async def _end_what_is_left(self) -> str:
        """What a run leaves in the background would pile up, run after run. Empty, or in words that there was some."""
        cgroup = self._family.home()
        if not (cgroup_members(cgroup) if cgroup else self._family.pids()):
            return ""
        await end_processes(cgroup or self._family.pids, 0.0)
        return "; it left processes behind, which were killed"

    def _judge(self, done: Completed, left: str) -> Verdict:
        config, code = self.config, done.returncode
        said = next((f": {line}" for line in reversed(done.output.splitlines()) if line.strip()), "")
        if done.timed_out:
            return Verdict.unknown(
                f"{config.label} had not ended after {config.timeout} and was killed" + _one_line(said)
            )
        if code < 0:
            return Verdict.unknown(f"{config.label} was killed by {signal_name(-code)}" + _one_line(said))
        reason = f"{config.label} exited with status {code}{_one_line(said)}{left}"
        facts = {"exit": str(code), "took_ms": f"{done.duration_s * 1000:.0f}"}
        if code in config.up:
            return Verdict.up(reason, **facts)
        if code in config.down or config.others == "down":
            return Verdict.down(reason, **facts)
        return Verdict.unknown(f"{reason}; only {_listed(config.up)} is up and {_listed(config.down)} down")

    async def _listen(self) -> AsyncGenerator[Verdict, None]:
        """The verdicts of one run of a looping program, at the end unknown with how it ended."""
        config = self.config
        try:
            talker = Talker(
                config.command,
                env=self._environment(),
                cwd=config.place,
                user=config.user,
                family=self._family,
            )
        except ConfigError as error:
            yield Verdict.unknown(_one_line(str(error)))
            return
        try:
            async with contextlib.aclosing(self._verdicts(talker)) as verdicts:
                async for verdict in verdicts:
                    yield verdict
            await talker.end_all()
        finally:
            talker.kill()

    async def _verdicts(self, talker: Talker) -> AsyncGenerator[Verdict, None]:
        loop, config = asyncio.get_running_loop(), self.config
        times_s: deque[float] = deque(maxlen=LINES_MAX)
        deadline_s = loop.time() + config.silence.seconds
        while True:
            try:
                line = await talker.line(deadline_s)
            except TimeoutError:
                yield Verdict.unknown(f"{config.label} has said nothing for {config.silence} and is killed")
                return
            if line is None:
                told = f": {self._last_note}" if self._last_note else ""
                yield Verdict.unknown(f"{config.label} {talker.end}{told}")
                return
            if len(times_s) == LINES_MAX and loop.time() - times_s[0] < 1.0:
                yield Verdict.unknown(f"{config.label} prints more than {LINES_MAX} lines a second and is killed")
                return
            times_s.append(loop.time())
            if verdict := self._understood(line):
                deadline_s = loop.time() + config.silence.seconds
                yield verdict

    def _understood(self, line: str) -> Verdict | None:
        """None for a line that is no verdict; it goes to the module's log, once in a row."""
        found = _VERDICT.fullmatch(line)
        if found is None:
            if (note := _one_line(line)) != self._last_note:
                self.context.log(f"{self.config.label}: {note}")
            self._last_note = note
            return None
        health = Health(found[1].lower())
        return Verdict(health, _one_line(found[2] or f"{self.config.label} says {health.value}"))

    @classmethod
    def ident(cls, config: CustomConfig) -> str:
        """The name of the program."""
        safe = re.sub(r"[^A-Za-z0-9_.:-]+", "_", config.name or config.label)[:63]
        return safe if re.match(r"[A-Za-z0-9_]", safe) else f"_{safe[:62]}"

    @classmethod
    def preflight(cls, config: CustomConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        found = []
        if shutil.which(config.command[0], path=search_path()) is None:
            found.append(f"{config.command[0]} is not there or not executable; correct `command:` or its mode")
        if not config.place.is_dir():
            found.append(f"the directory {config.place} is not there; make it, or correct `directory:`")
        if config.user is not None and not account(config.user):
            found.append(f"there is no user '{config.user}'; create it, or name another one")
        return found


def _one_line(text: str) -> str:
    """Without line ends and other control characters, and bounded."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:REASON_CHARS]


def _listed(codes: tuple[int, ...]) -> str:
    return " or ".join(map(str, codes))
