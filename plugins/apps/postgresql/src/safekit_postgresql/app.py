"""PostgreSQL: its server in the foreground, so that its processes are ours to watch and nothing escapes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_postgresql import installation, lock_file, module_file, preflight
from safekit_postgresql.config import IMMEDIATE_S, PostgresqlConfig
from safekit_postgresql.installation import Installation
from safekit_postgresql.knock import Knock
from safekit_postgresql.processes import Processes
from safekit_postgresql.question import Question
from safekit_sdk import App, ConfigError, Health, ModuleKind, ModuleRequest, ResourceState, Status, Verdict
from safekit_sdk.installed import PATH
from safekit_sdk.main_process import MainProcess
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import describe
from safekit_sdk.program_log import ProgramLog

TERM_S: Final = 2.0
SOCKETS_MODE: Final = 0o2775


class PostgresqlApp(App[PostgresqlConfig], api=1):
    """The PostgreSQL database server, on a data directory that is replicated."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"database", "query", "interval", "timeout", "fall", "smart"})

    @classmethod
    def ident(cls, config: PostgresqlConfig) -> str:
        return config.name or "postgresql"

    @classmethod
    def preflight(cls, config: PostgresqlConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        return preflight.findings(config)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        return module_file.module_file(request)

    @property
    def _processes(self) -> Processes:
        return Processes(Family.of(self.context, f"postgresql.{self.context.name}"), self.config.data)

    @property
    def _log(self) -> ProgramLog:
        return ProgramLog(self.context.state_dir / "postgresql.log")

    @property
    def _lock_path(self) -> Path:
        return self.config.data / lock_file.NAME

    @property
    def _main(self) -> MainProcess:
        return MainProcess("PostgreSQL", self._processes.main, self._log)

    async def start(self) -> None:
        found = await asyncio.to_thread(installation.find, self.config)
        if self._processes.main() is None:
            await self._processes.end(0.0)
            await self._launch(found)
        await self._main.until_ready(self._silence, self.config.patience_s, self.context.log)
        lock = lock_file.read(self._lock_path)
        if lock is None:
            raise ConfigError(f"{self._lock_path} is gone")
        await self._until_answering(Question(found, lock))
        for loss in await Question(found, lock).losses():
            self.context.log(f"PostgreSQL may lose transactions: {loss}")

    async def _launch(self, found: Installation) -> None:
        sockets = await found.setting_async("unix_socket_directories")
        port = await found.setting_async("port")
        directories = [Path(text.strip()) for text in sockets.split(",") if text.strip().startswith("/")]
        if not directories:
            raise ConfigError(
                "PostgreSQL has no unix socket, by which it is asked whether it lives",
                hint="set `unix_socket_directories = '/run/postgresql'` in postgresql.conf",
            )
        self._refuse_what_cannot_work()
        for path in (self._lock_path, *(directory / f".s.PGSQL.{port}.lock" for directory in directories)):
            if did := lock_file.clear(path):
                self.context.log(did)
        for directory in directories:
            _make_sockets_directory(directory, self.config.user)
        self._log.bound()
        family = self._processes.family
        environment = {"PATH": PATH, **self.context.settings, **family.environment}
        argv, place = found.server, family.home()
        launch(argv, output=self._log.path, env=environment, cwd=Path("/"), cgroup=place, user=self.config.user)

    def _refuse_what_cannot_work(self) -> None:
        if strangers := self._processes.strangers():
            raise ConfigError(
                f"another PostgreSQL runs on {self.config.data}: {describe(strangers)}",
                hint="stop it, and keep systemd from starting it: `systemctl disable --now postgresql`",
            )
        for finding in preflight.unreplicated(self.config):
            self.context.log(f"a failover would lose data: {finding}")

    async def _silence(self, pid: int) -> str:
        """A server that recovers after a crash lives."""
        lock = lock_file.read(self._lock_path)
        if lock and lock.pid == pid and lock.is_ready:
            return ""
        return self._processes.recovering() or self._log.last_words() or "it says nothing"

    async def _until_answering(self, question: Question) -> None:
        """Twice at most: it is ready, so the first failure may only be chance."""
        verdict = Verdict.init()
        for _ in range(2):
            verdict = await question.ask()
            if verdict.health is not Health.DOWN:
                break
        if verdict.health is not Health.UP:
            self.context.log(f"PostgreSQL has started, but: {verdict.reason}")
        if verdict.health is Health.DOWN:
            raise ConfigError(f"PostgreSQL has started, but: {verdict.reason}")

    async def stop(self, force: bool) -> None:
        if not force:
            await self._stop_gracefully()
        await self._processes.end(0.0 if force else TERM_S)
        self._log.bound()

    async def _stop_gracefully(self) -> None:
        """Smart: clients may leave. Fast: their transactions are rolled back, and a last checkpoint is made. Immediate:
        as by a crash, nothing that was acknowledged is lost, but the next start has to recover."""
        for number, bound_s in (
            (signal.SIGTERM, self.config.smart.seconds),
            (signal.SIGINT, self.config.fast_s),
            (signal.SIGQUIT, IMMEDIATE_S),
        ):
            if number is signal.SIGQUIT:
                self.context.log("PostgreSQL made no last checkpoint in time: the next start has to recover")
            if bound_s > 0 and await self._main.ends(number, bound_s):
                return

    async def status(self) -> Status:
        pid = self._processes.main()
        if pid is None:
            return self._main.absent(self._processes.pids())
        lock = lock_file.read(self._lock_path)
        if lock is None or lock.pid != pid or not lock.is_ready:
            return Status(ResourceState.FAILED, f"process {pid} is {lock.state if lock else 'without a lock file'}")
        return Status(ResourceState.STARTED, f"process {pid}, port {lock.port}")

    def watch(self) -> AsyncIterator[Verdict]:
        """Its death, at once; and a question that it answers. One that recovers lives, for as long as a start may
        take."""
        lived_s = time.monotonic()

        async def look(pid: int) -> Verdict:  # noqa: ARG001 - it is asked by its socket
            nonlocal lived_s
            verdict = await self._look()
            if not verdict.reason.startswith(Knock.RECOVERING):
                lived_s = time.monotonic()
            elif time.monotonic() - lived_s > self.config.patience_s:
                verdict = Verdict.down(verdict.reason)
            return verdict

        return self._main.watch(look, self.config.interval.seconds, self.config.fall)

    async def _look(self) -> Verdict:
        lock = lock_file.read(self._lock_path)
        if lock is None:
            return Verdict.down(f"{self._lock_path} is gone: the data directory is not there, or was cleared")
        try:
            found = await asyncio.to_thread(installation.find, self.config)
        except ConfigError as error:
            return Verdict.down(error.message)
        return await Question(found, lock).ask()


def _make_sockets_directory(directory: Path, user: str) -> None:
    """Below /run it is gone after a boot; a package has it made by systemd, which does not run everywhere."""
    if not directory.exists() and directory.parent.is_dir():
        directory.mkdir()
        shutil.chown(directory, user, user)
        directory.chmod(SOCKETS_MODE)
