"""Apache httpd: started in the foreground, so that its main process is ours to watch and nothing escapes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from safekit_apache import program
from safekit_apache.config import ApacheConfig
from safekit_apache.program import Program
from safekit_sdk import App, ConfigError, ModuleKind, ModuleRequest, Status
from safekit_sdk.app import Entry
from safekit_sdk.installed import sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess
from safekit_sdk.module_files import without_data
from safekit_sdk.process import Completed, Family, launch, open_pidfd, run, wait_ended
from safekit_sdk.procfs import listens
from safekit_sdk.program_log import ProgramLog

LOOK_S: Final = 0.005
TERM_S: Final = 2.0
"""How long Apache may take to end after SIGTERM."""


class ApacheApp(App[ApacheConfig], api=1):
    """The Apache web server, restarted in place when it dies or answers no more."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"port", "path", "host", "graceful"})

    @classmethod
    def ident(cls, config: ApacheConfig) -> str:
        return config.name or "apache"

    @classmethod
    def preflight(cls, config: ApacheConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings = []
        try:
            program.find(config)
        except ConfigError as error:
            findings.append(sentence(error))
        return findings + (started_by_systemd("apache2", "httpd") if config.config is None else [])

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"apache.{self.context.name}")

    @property
    def _log(self) -> ProgramLog:
        """What Apache says before its own error log is open."""
        return ProgramLog(self.context.state_dir / "apache.log")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("Apache", self._family.leader, self._log)

    async def start(self) -> None:
        if self._family.leader() is None:
            await self._family.end_all(0.0)
            await self._launch()
        await self._main.until_ready(_silence, self.config.patience_s, self.context.log, pause_s=LOOK_S)

    async def _launch(self) -> None:
        found = program.find(self.config)
        environment = await program.environment(found, {**self.context.settings, **self._family.environment})
        settled = await self._check(found, environment)
        program.forget_dead(settled, self._argv(found))
        self._log.bound()
        launch(
            [*self._argv(found), "-DFOREGROUND"],
            output=self._log.path,
            env=environment,
            cgroup=self._family.home(),
        )

    def _argv(self, found: Program) -> list[str]:
        own = ["-f", str(self.config.config)] if self.config.config else []
        return [str(found.path), *own]

    async def _check(self, found: Program, environment: Mapping[str, str]) -> str:
        """What Apache makes of its configuration. ConfigError with Apache's own words, which name file and line, when
        that has errors."""
        argv = [*self._argv(found), "-t", "-D", "DUMP_RUN_CFG"]
        done: Completed = await run(argv, timeout_s=self.config.patience_s, env=environment)
        if not done.ok:
            raise ConfigError(f"the configuration of Apache has errors: {done.why()}", hint="correct it on this node")
        return done.output

    async def stop(self, force: bool) -> None:
        if not force:
            await self._finish_requests()
        await self._family.end_all(0.0 if force else TERM_S)

    async def _finish_requests(self) -> None:
        """It listens no more, and each worker ends when its requests are answered. The main process looks for that
        only once a second, so it is the workers that are waited for."""
        main = self._family.leader()
        pidfd = open_pidfd(main) if main is not None else None
        if main is None or pidfd is None:
            return
        workers = [opened for pid in self._family.pids() - {main} if (opened := open_pidfd(pid)) is not None]
        deadline_s = asyncio.get_running_loop().time() + self.config.graceful.seconds
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGWINCH)
            for worker in workers:
                await wait_ended(worker, max(deadline_s - asyncio.get_running_loop().time(), 0.0))
        finally:
            for opened in (pidfd, *workers):
                os.close(opened)

    async def status(self) -> Status:
        return self._main.status(self._family.pids, must_listen=True)

    def checkers(self) -> tuple[Entry, ...]:
        """The main process, seen dead at once; and an answer, seen missing after two questions."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        url = f"http://{host}:{self.config.port}{self.config.path}"
        asked = {"name": self.context.name, "url": url, "status": ["100-499"]}
        pace = {"interval": "1s", "timeout": "2s", "fall": 2}
        names = re.escape(self.config.program.name) if self.config.program else "apache2|httpd"
        dead = {"nameregex": f"^({names})$", "leader": True, "own": True}
        return (
            {"errd": {"name": self.context.name, **dead, "action": "restart"}},
            {"http": {**asked, **pace, "action": "restart"}},
        )

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        options: dict[str, Any] = dict(request.options)
        if request.port is not None:
            options["port"] = request.port
        ApacheConfig.model_validate(options)
        return without_data(request, "Apache", {"apache": options}, request.port or 80)


async def _silence(pid: int) -> str:
    return "" if listens(pid) else "it does not listen"
