"""HAProxy: its master in the foreground, so that its processes are ours to watch and nothing escapes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_haproxy import master
from safekit_haproxy.config import HaproxyConfig
from safekit_sdk import App, ConfigError, Health, ModuleKind, ModuleRequest, Status, Verdict
from safekit_sdk.installed import CLEAN, find_program, refuse_missing, sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess
from safekit_sdk.module_files import without_data
from safekit_sdk.process import Family, launch, run
from safekit_sdk.program_log import ProgramLog

FILE: Final = Path("/etc/haproxy/haproxy.cfg")
SOCKETS: Final = Path("/run/haproxy")
"""Where Debian's file has its own socket; a boot removes it, and only systemd makes it again."""
USER: Final = "haproxy"
TERM_S: Final = 2.0
RELOAD_LOOK_S: Final = 0.05


class HaproxyApp(App[HaproxyConfig], api=1):
    """The HAProxy load balancer, restarted in place when it dies or answers no more."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"reload", "interval", "timeout", "fall", "graceful"})

    @classmethod
    def ident(cls, config: HaproxyConfig) -> str:
        return config.name or "haproxy"

    @classmethod
    def preflight(cls, config: HaproxyConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings = []
        try:
            argv = _argv(config)
            quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True}
            around: dict[str, Any] = {"env": CLEAN, "cwd": "/"}
            done = subprocess.run([*argv, "-c"], timeout=config.patience_s, check=False, **quiet, **around)
            _judge(done.returncode, done.stderr.decode(errors="replace"))
        except ConfigError as error:
            findings.append(sentence(error))
        except (OSError, subprocess.SubprocessError) as error:
            findings.append(f"the configuration of HAProxy cannot be checked: {error}")
        return findings + (started_by_systemd("haproxy") if config.config is None else [])

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"haproxy.{self.context.name}")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("HAProxy", self._family.leader, ProgramLog(self.context.state_dir / "haproxy.log"))

    @property
    def _socket(self) -> Path:
        return self.context.run_dir / "haproxy.sock"

    async def start(self) -> None:
        if self._family.leader() is None:
            await self._family.end_all(0.0)
            await self._check()
            self._launch()
        await self._main.until_ready(self._silence, self.config.patience_s, self.context.log)

    async def _check(self) -> None:
        argv = [*_argv(self.config), "-c"]
        done = await run(argv, timeout_s=self.config.patience_s, env=CLEAN, cwd=Path("/"), errors_apart=True)
        _judge(done.returncode, done.errors)

    def _launch(self) -> None:
        if self.config.config is None and not SOCKETS.exists():
            SOCKETS.mkdir(mode=0o755)
            shutil.chown(SOCKETS, USER, USER)
        self._main.log.bound()
        family = self._family
        argv = [*_argv(self.config), "-W", "-db", "-S", f"{self._socket},mode,600"]
        environment = {**CLEAN, **self.context.settings, **family.environment}
        launch(argv, output=self._main.log.path, env=environment, cwd=Path("/"), cgroup=family.home())

    async def _silence(self, pid: int) -> str:
        verdict = await self._look(pid)
        return "" if verdict.health is Health.UP else verdict.reason

    async def _look(self, pid: int) -> Verdict:  # noqa: ARG002 - it is asked by its socket
        return await master.ask(self._socket, self.config.timeout.seconds)

    async def reconfigure(self, before: HaproxyConfig) -> None:
        """A file with an error changes nothing: the clients keep what they have."""
        if before.reload == self.config.reload:
            return
        try:
            await self._check()
        except ConfigError as error:
            self.context.log(f"HAProxy goes on with the configuration that it has: {sentence(error)}")
            return
        old = await master.worker(self._socket, self.config.timeout.seconds)
        pid = self._family.leader()
        if pid is None:
            raise ConfigError("HAProxy does not run")
        os.kill(pid, signal.SIGUSR2)
        async with asyncio.timeout(self.config.patience_s):
            while not await self._has_another_worker_than(old):  # noqa: ASYNC110 - what is waited for is on the machine
                await asyncio.sleep(RELOAD_LOOK_S)

    async def _has_another_worker_than(self, old: int) -> bool:
        """The socket is closed for a moment while the master begins anew."""
        try:
            return await master.worker(self._socket, self.config.timeout.seconds) not in (0, old)
        except (OSError, TimeoutError):
            return False

    async def stop(self, force: bool) -> None:
        if not force:
            # It listens no more, and ends when the last connection is closed.
            await self._main.ends(signal.SIGUSR1, self.config.graceful.seconds)
        await self._family.end_all(0.0 if force else TERM_S)

    async def status(self) -> Status:
        return self._main.status(self._family.pids)

    def watch(self) -> AsyncIterator[Verdict]:
        """The death of the master, at once; and an answer of the worker."""
        return self._main.watch(self._look, self.config.interval.seconds, self.config.fall)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """Its frontends say their ports: without one given, a farm shares all of them."""
        options = dict(request.options)
        HaproxyConfig.model_validate(options)
        return without_data(request, "HAProxy", {"haproxy": options}, request.port)


def _argv(config: HaproxyConfig) -> list[str]:
    """ConfigError that says what to install or correct."""
    program = find_program(config.program, "haproxy")
    file = config.config or FILE
    refuse_missing(config=file)
    return [str(program), "-f", str(file)]


def _judge(returncode: int, errors: str) -> None:
    if returncode != 0:
        alerts = [line.strip() for line in errors.splitlines() if "[ALERT]" in line] or errors.splitlines()
        raise ConfigError(
            f"the configuration of HAProxy has errors: {' | '.join(alerts[:5])}", hint="correct it on this node"
        )
