"""A service of the machine, started and stopped where it is wanted, and watched where it has a main process."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from typing import Final

from safekit_resource_service import scripts, unit
from safekit_resource_service.command import Command
from safekit_resource_service.config import ServiceConfig
from safekit_resource_service.form import Form
from safekit_resource_service.scripts import Scripts
from safekit_resource_service.surroundings import Surroundings
from safekit_resource_service.unit import Unit
from safekit_sdk import Context, ModuleKind, Resource, ResourceState, Scope, Status, Transition, Verdict
from safekit_sdk.process import open_pidfd, wait_ended

LOOK_S: Final = 1.0
"""Between two looks for a main process while there is none."""


class ServiceResource(Resource[ServiceConfig], api=1):
    """A service: by start and stop scripts, by a command, or by a unit of systemd."""

    def __init__(self, config: ServiceConfig, context: Context) -> None:
        super().__init__(config, context)
        around = Surroundings(config, context)
        kind: type[Form] = Scripts if config.scripts else Command if config.command else Unit
        self._form = kind(around)

    @classmethod
    def ident(cls, config: ServiceConfig) -> str:
        """Of the directory of scripts, the program, or the unit."""
        if config.name:
            return config.name
        if config.scripts:
            return config.scripts.parent.name if config.scripts.name == "bin" else config.scripts.name
        text = config.unit.removesuffix(".service") if config.unit else (config.command or ("service",))[0]
        return "".join(c if c.isalnum() or c in "_.-" else "_" for c in text.rpartition("/")[2])[:63]

    @classmethod
    def scopes(cls, config: ServiceConfig, kind: ModuleKind) -> tuple[Scope, ...]:
        if config.scripts:
            return scripts.scopes(config.scripts, kind)
        return super().scopes(config, kind)

    @classmethod
    def preflight(cls, config: ServiceConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings = scripts.findings(config.scripts) if config.scripts else []
        for argv in (config.command, config.stop_command, config.reload):
            if argv and not (os.access(argv[0], os.X_OK) if "/" in argv[0] else shutil.which(argv[0])):
                findings.append(f"{argv[0]} is not there or cannot be executed; install it, or correct the path")
        if config.unit:
            findings += unit.findings(config.unit)
        if config.directory is not None and not config.directory.is_dir():
            findings.append(f"{config.directory} is not a directory; create it, or correct `directory:`")
        if config.user is not None and config.user not in {entry.pw_name for entry in pwd.getpwall()}:
            findings.append(f"there is no user '{config.user}'; create it, or name another")
        return findings

    async def start(self) -> None:
        self._form.change = self.change
        await self._form.start()

    async def stop(self, force: bool) -> None:
        self._form.change = self.change
        await self._form.stop(force)

    async def status(self) -> Status:
        return await self._form.status()

    async def transition(self, change: Transition) -> None:
        await self._form.transition(change)

    async def watch(self) -> AsyncIterator[Verdict]:
        if not self._form.watches_a_process():
            yield Verdict.up("started; there is no main process to watch")
            await asyncio.Event().wait()
        while True:
            pid = await self._form.main_pid()
            pidfd = open_pidfd(pid) if pid is not None else None
            if pid is None or pidfd is None:
                yield await self._without_main_process()
                await asyncio.sleep(LOOK_S)
                continue
            try:
                yield Verdict.up(f"process {pid} runs")
                await wait_ended(pidfd, None)
            finally:
                os.close(pidfd)
            how = self._form.last_words() or "ended"
            yield Verdict.down(f"the main process {pid} {how}", pid=str(pid))

    async def _without_main_process(self) -> Verdict:
        """A unit may be active without one, as those that only run once are."""
        status = await self._form.status()
        if status.state is ResourceState.STARTED:
            return Verdict.up(f"started, without a main process: {status.detail}")
        return Verdict.down(f"there is no main process: {status.detail or status.state}")
