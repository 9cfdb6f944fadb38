"""Redis or Valkey: its server in the foreground, so that it is ours to watch."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_redis import server
from safekit_redis.config import RedisConfig
from safekit_redis.question import ask, log_every_write
from safekit_redis.resp import AnsweredError
from safekit_redis.server import NAMES, Server
from safekit_sdk import App, ConfigError, Health, ModuleKind, ModuleRequest, Status, Verdict
from safekit_sdk.config import PATIENCE
from safekit_sdk.installed import CLEAN, sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess
from safekit_sdk.module_files import with_data
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import describe, working_in
from safekit_sdk.program_log import ProgramLog
from safekit_sdk.titled import TitledFamily

AGAIN_S: Final = 1.0
UNITS: Final = ("redis-server", "redis", "valkey-server", "valkey")
"""As distributions call them."""


class RedisApp(App[RedisConfig], api=1):
    """The Redis or Valkey server, on a data directory that is replicated."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"account", "password", "key", "interval", "timeout", "fall"})

    @classmethod
    def ident(cls, config: RedisConfig) -> str:
        return config.name or "redis"

    @classmethod
    def preflight(cls, config: RedisConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings: list[str] = []
        try:
            found = server.find(config)
            findings += found.losses()
            if not found.data.is_dir():
                findings.append(f"{found.data} is not there; create it, owned by {found.user}")
            else:
                server.check_now(found)
            if config.password is not None:
                config.password.reveal()
        except ConfigError as error:
            findings.append(sentence(error))
        return findings + (started_by_systemd(*UNITS) if config.config is None else [])

    @property
    def _family(self) -> TitledFamily:
        family = Family.of(self.context, f"redis.{self.context.name}")
        return TitledFamily(family, self.context.run_dir / "redis.main")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("Redis", self._family.main, ProgramLog(self.context.state_dir / "redis.log"))

    async def start(self) -> None:
        found = server.find(self.config)
        if self._family.main() is None:
            await self._family.end(0.0)
            await server.check(found)
            self._launch(found)
        await self._main.until_ready(partial(self._silence, found), self.config.patience_s, self.context.log)
        if self.config.durable and found.has_only_a_snapshot:
            await self._log_every_write(found)

    def _launch(self, found: Server) -> None:
        if strangers := working_in(found.data, NAMES) - self._family.pids():
            raise ConfigError(
                f"another server runs on {found.data}: {describe(strangers)}",
                hint=f"stop it, and keep systemd from starting it: `systemctl disable --now {found.program.name}`",
            )
        for loss in found.losses():
            self.context.log(f"Redis may lose writes: {loss}")
        if isinstance(found.place, Path) and not found.place.parent.exists() and found.place.parent.parent.is_dir():
            found.place.parent.mkdir(mode=0o755)
            shutil.chown(found.place.parent, found.user)
        self._main.log.bound()
        family = self._family.family
        environment = {**CLEAN, **self.context.settings, **family.environment}
        around: dict[str, Any] = {"cwd": Path("/"), "cgroup": family.home(), "user": found.user}
        self._family.remember(launch(found.argv(), output=self._main.log.path, env=environment, **around).pid)

    async def _silence(self, found: Server, pid: int) -> str:
        verdict = await ask(found, str(pid))
        if verdict.health is Health.DOWN or "LOADING" in verdict.reason:
            return verdict.reason
        if verdict.health is Health.UNKNOWN:
            self.context.log(f"Redis has started, but: {verdict.reason}")
        return ""

    async def _log_every_write(self, found: Server) -> None:
        """Begun without the append-only file, so that the snapshot was loaded; clients' writes before this are not
        safe, but the module has not started yet."""
        self.context.log("Redis makes its first append-only file of the snapshot that it has loaded")
        try:
            async with asyncio.timeout(self.config.patience_s):
                await log_every_write(found)
        except (AnsweredError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise ConfigError(
                f"Redis cannot make an append-only file: {error}",
                hint="the check needs the right to CONFIG SET, once; or set `durable: false`, and lose writes",
            ) from error

    async def stop(self, force: bool) -> None:
        """By SIGTERM, which is its SHUTDOWN: what is to be written is written. Again, as it refuses when that fails."""
        bound_s = self.config.stop_timeout.seconds * PATIENCE
        if not force and not await self._main.ends(signal.SIGTERM, bound_s, again_s=AGAIN_S):
            self.context.log("Redis did not end in time, and is killed; `durable` writes are on the disks")
        await self._family.end(0.0)

    async def status(self) -> Status:
        return self._main.status(self._family.pids)

    def watch(self) -> AsyncIterator[Verdict]:
        """Its death, at once; and a question that it answers."""

        async def look(pid: int) -> Verdict:
            try:
                return await ask(server.find(self.config), str(pid))
            except ConfigError as error:
                return Verdict.unknown(error.message)

        return self._main.watch(look, self.config.interval.seconds, self.config.fall)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        options = dict(request.options)
        config = RedisConfig.model_validate(options)
        return with_data(request, "Redis", {"redis": options}, _directories(config))


def _directories(config: RedisConfig) -> Iterator[dict[str, Any]]:
    yield {"name": "data", "directory": os.path.normpath(server.find(config).data)}
