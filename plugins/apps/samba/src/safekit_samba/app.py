"""Samba: smbd in the foreground, so that its processes are ours to watch."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_samba import server
from safekit_samba.config import SambaConfig
from safekit_samba.server import ENVIRONMENT, Server, ask
from safekit_sdk import App, ConfigError, Health, ModuleKind, ModuleRequest, Status, Verdict
from safekit_sdk.config import PATIENCE
from safekit_sdk.installed import sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess, asking
from safekit_sdk.module_files import with_data
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import listens
from safekit_sdk.program_log import ProgramLog
from safekit_sdk.titled import TitledFamily

OWN: Final = """\
# Written by safekit at each start. Your settings:
[global]
include = {file}
# What safekit says: locks and sockets are this node's, and last until it is stopped; both nodes have one name.
[global]
netbios name = {name}
lock directory = {place}/locks
pid directory = {place}/locks
ncalrpc dir = {place}/ncalrpc
use mmap = no
"""


class SambaApp(App[SambaConfig], api=1):
    """Samba's file shares, on directories that are replicated."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"share", "credentials", "host", "interval", "timeout", "fall"})

    @classmethod
    def ident(cls, config: SambaConfig) -> str:
        return config.name or "samba"

    @classmethod
    def preflight(cls, config: SambaConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings: list[str] = []
        try:
            findings += server.find(config).losses()
        except ConfigError as error:
            findings.append(sentence(error))
        return findings + (started_by_systemd("smbd", "nmbd") if config.config is None else [])

    @property
    def _family(self) -> TitledFamily:
        """A helper that smbd starts leads a session of its own, so the first process is noted."""
        family = Family.of(self.context, f"samba.{self.context.name}")
        return TitledFamily(family, self.context.run_dir / "samba.main")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("Samba", self._family.main, ProgramLog(self.context.state_dir / "samba.log"))

    async def start(self) -> None:
        found = await server.find_async(self.config)
        if self._family.main() is None:
            await self._family.end(0.0)
            self._launch(found)
        await self._main.until_ready(partial(self._silence, found), self.config.patience_s, self.context.log)

    def _launch(self, found: Server) -> None:
        for loss in found.losses():
            self.context.log(f"Samba may lose data: {loss}")
        self._main.log.bound()
        family = self._family.family
        environment = {**ENVIRONMENT, **self.context.settings, **family.environment}
        argv = [str(found.program), "-F", "--no-process-group", "--debug-stdout", "-s", str(self._own_file(found))]
        around: dict[str, Any] = {"cwd": Path("/"), "cgroup": family.home()}
        self._family.remember(launch(argv, output=self._main.log.path, env=environment, **around).pid)

    def _own_file(self, found: Server) -> Path:
        place = self.context.run_dir / "samba"
        for name in ("locks", "ncalrpc"):
            (place / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        name = self.config.server or self.context.module[:15]
        file = place / "smb.conf"
        file.write_text(OWN.format(file=found.file, name=name, place=place), encoding="utf-8")
        return file

    async def _silence(self, found: Server, pid: int) -> str:
        if not listens(pid):
            return "it does not listen"
        verdict = await ask(found)
        if verdict.health is Health.UNKNOWN:
            self.context.log(f"Samba has started, but: {verdict.reason}")
        return verdict.reason if verdict.health is Health.DOWN else ""

    async def stop(self, force: bool) -> None:
        if not force and not await self._main.ends(signal.SIGTERM, self.config.stop_timeout.seconds * PATIENCE):
            self.context.log("Samba did not end in time, and is killed")
        await self._family.end(0.0)

    async def status(self) -> Status:
        return self._main.status(self._family.pids, must_listen=True)

    def watch(self) -> AsyncIterator[Verdict]:
        """Its death, at once; and a session that it opens, or a directory that it shows."""
        look = asking(partial(server.find_async, self.config), ask)
        return self._main.watch(look, self.config.interval.seconds, self.config.fall)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        options = dict(request.options)
        config = SambaConfig.model_validate(options)
        return with_data(request, "Samba", {"samba": options}, _directories(config))


def _directories(config: SambaConfig) -> Iterator[dict[str, Any]]:
    yield from server.find(config).directories()
