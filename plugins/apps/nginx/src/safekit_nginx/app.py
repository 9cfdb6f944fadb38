"""nginx: its master in the foreground, so that its processes are ours to watch and nothing escapes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_nginx.config import NginxConfig
from safekit_sdk import App, ConfigError, ModuleKind, ModuleRequest, Status, Verdict
from safekit_sdk.app import Entry
from safekit_sdk.installed import CLEAN, find_program, refuse_missing, sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess
from safekit_sdk.module_files import without_data
from safekit_sdk.process import Family, launch, run
from safekit_sdk.procfs import listens
from safekit_sdk.program_log import ProgramLog
from safekit_sdk.titled import TitledFamily

FOREGROUND: Final = "daemon off; master_process on;"
LOOK_S: Final = 0.01
WATCH_S: Final = 1.0
"""Between two looks for a master while there is none."""
TERM_S: Final = 2.0


class NginxApp(App[NginxConfig], api=1):
    """The nginx web server and proxy, restarted in place when it dies or answers no more."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"port", "path", "host", "graceful"})

    @classmethod
    def ident(cls, config: NginxConfig) -> str:
        return config.name or "nginx"

    @classmethod
    def preflight(cls, config: NginxConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings = []
        try:
            _find(config)
        except ConfigError as error:
            findings.append(sentence(error))
        return findings + (started_by_systemd("nginx") if config.config is None else [])

    @property
    def _processes(self) -> TitledFamily:
        family = Family.of(self.context, f"nginx.{self.context.name}")
        return TitledFamily(family, self.context.run_dir / "nginx.main")

    @property
    def _log(self) -> ProgramLog:
        """What nginx says before its own error log is open."""
        return ProgramLog(self.context.state_dir / "nginx.log")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("nginx", self._processes.main, self._log)

    async def start(self) -> None:
        if self._processes.main() is None:
            await self._processes.end(0.0)
            await self._launch()
        await self._main.until_ready(self._silence, self.config.patience_s, self.context.log, pause_s=LOOK_S)

    async def _launch(self) -> None:
        own = ["-c", str(self.config.config)] if self.config.config else []
        argv = [str(_find(self.config)), *own, "-g", FOREGROUND]
        family = self._processes.family
        environment = {**CLEAN, **self.context.settings, **family.environment}
        done = await run([*argv, "-t"], timeout_s=self.config.patience_s, env=environment)
        if not done.ok:
            raise ConfigError(
                f"the configuration of nginx has errors: {done.why()}",
                hint="correct it on this node; `daemon` and `master_process` are set by safekit",
            )
        self._log.bound()
        self._processes.remember(launch(argv, output=self._log.path, env=environment, cgroup=family.home()).pid)

    async def _silence(self, pid: int) -> str:
        """It has to listen, and to have forked who answers."""
        return "" if len(self._processes.pids()) > 1 and listens(pid) else "it does not listen"

    async def stop(self, force: bool) -> None:
        if not force:
            # It listens no more, and ends when the last request is answered.
            await self._main.ends(signal.SIGQUIT, self.config.graceful.seconds)
        await self._processes.end(0.0 if force else TERM_S)

    async def status(self) -> Status:
        return self._main.status(self._processes.pids, must_listen=True)

    def watch(self) -> AsyncIterator[Verdict]:
        """The death of the master; workers are its own matter."""
        return self._main.watch(_runs, WATCH_S)

    def checkers(self) -> tuple[Entry, ...]:
        """An answer, seen missing after two questions."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        url = f"http://{host}:{self.config.port}{self.config.path}"
        asked = {"name": self.context.name, "url": url, "status": ["100-499"]}
        return ({"http": {**asked, "interval": "1s", "timeout": "2s", "fall": 2, "action": "restart"}},)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        options: dict[str, Any] = dict(request.options)
        if request.port is not None:
            options["port"] = request.port
        NginxConfig.model_validate(options)
        return without_data(request, "nginx", {"nginx": options}, request.port or 80)


async def _runs(pid: int) -> Verdict:
    return Verdict.up(f"process {pid} runs")


def _find(config: NginxConfig) -> Path:
    refuse_missing(config=config.config)
    return find_program(config.program, "nginx")
