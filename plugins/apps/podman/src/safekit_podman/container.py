"""One container: started, found and watched by the first of its processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from safekit_podman.engine import Engine
from safekit_podman.plan import Spec
from safekit_sdk import Context, Health, Status, Verdict
from safekit_sdk.main_process import MainProcess
from safekit_sdk.process import Family
from safekit_sdk.program_log import ProgramLog
from safekit_sdk.titled import TitledFamily

SPARE_S: Final = 2.0
"""Of a stop's time, for what the engine has to do besides waiting."""


@dataclass(frozen=True, slots=True)
class Container:
    spec: Spec
    engine: Engine
    family: Family
    """The processes of all containers of the step: they carry its marker as a variable of theirs."""
    context: Context

    @property
    def _stem(self) -> str:
        return f"podman.{self.spec.service}" if self.spec.service else "podman"

    @property
    def processes(self) -> TitledFamily:
        return TitledFamily(self.family, self.context.run_dir / f"{self._stem}.main")

    @property
    def process(self) -> MainProcess:
        log = ProgramLog(self.context.state_dir / f"{self._stem}.log")
        name = f"the container {self.spec.service}" if self.spec.service else "the container"
        return MainProcess(name, self.processes.main, log)

    @property
    def is_missing(self) -> bool:
        return not self.spec.ends and self.processes.main() is None

    async def begin(self, patience_s: float) -> None:
        """Made and started, and ready for what comes after it; one that ends has then ended, and well."""
        name, log = self.engine.name(self.spec.service), self.process.log
        log.bound()
        secret = self.context.run_dir / f"{self._stem}.env"
        await self.engine.create(self.spec, log.path, secret, self.family.environment)
        if self.spec.ends:
            await self.engine.do("start", "--attach", name, timeout_s=patience_s)
            return
        await self.engine.do("start", name, timeout_s=patience_s)
        self.processes.remember(await self.engine.main_pid(self.spec.service))

    async def until_ready(self, patience_s: float) -> None:
        if not self.spec.ends:
            await self.process.until_ready(self._silence, patience_s, self.context.log, pause_s=0.2)

    async def _silence(self, pid: int) -> str:
        verdict = await self._look(pid)
        return "" if verdict.health is Health.UP else verdict.reason

    async def _look(self, pid: int) -> Verdict:  # noqa: ARG002 - it is asked by its name
        """Up without a question when there is none to ask."""
        if not self.spec.health:
            return Verdict.up("it runs")
        asked = ("exec", self.engine.name(self.spec.service), *self.spec.health)
        done = await self.engine.say(*asked, timeout_s=self.engine.config.timeout.seconds)
        first = self.spec.health[0]
        return Verdict.up(f"{first} succeeds") if done.ok else Verdict.down(f"{first} fails: {done.why()}")

    async def quit(self, grace_s: float) -> None:
        """Told to end, and ended by the engine after this time; without any left, it is for whoever removes it."""
        if grace_s > 0 and self.processes.main() is not None:
            words = ("stop", "--time", str(int(grace_s)), self.engine.name(self.spec.service))
            await self.engine.say(*words, timeout_s=grace_s + SPARE_S)

    def status(self) -> Status:
        return self.process.status(self.processes.pids)

    def watch(self) -> AsyncIterator[Verdict]:
        """The end of its main process, at once; and its health command."""
        config = self.engine.config
        return self.process.watch(self._look, config.interval.seconds, config.fall)
