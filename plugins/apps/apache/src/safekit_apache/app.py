"""Apache httpd: started in the foreground, so that its main process is ours to watch and nothing escapes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safekit_apache import main_process, program
from safekit_apache.config import ApacheConfig
from safekit_apache.program import Program
from safekit_sdk import App, ConfigError, ModuleKind, ModuleRequest, ResourceState, Status
from safekit_sdk.app import Entry
from safekit_sdk.process import Completed, Family, launch, open_pidfd, run, wait_ended
from safekit_sdk.procfs import describe

LOOK_S: Final = 0.005
TERM_S: Final = 2.0
"""How long Apache may take to end after SIGTERM."""
MAX_LOG_BYTES: Final = 1 << 20
SYSTEMD_RUNS: Final = Path("/run/systemd/system")
ENABLED: Final = Path("/etc/systemd/system/multi-user.target.wants/apache2.service")
ENABLED_ELSEWHERE: Final = ENABLED.with_name("httpd.service")


class ApacheApp(App[ApacheConfig], api=1):
    """The Apache web server, restarted in place when it dies or answers no more."""

    @classmethod
    def ident(cls, config: ApacheConfig) -> str:
        return config.name or "apache"

    @classmethod
    def preflight(cls, config: ApacheConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings = []
        try:
            program.find(config)
        except ConfigError as error:
            findings.append(f"{error.message}; {error.hint}")
        for unit in (ENABLED, ENABLED_ELSEWHERE) if SYSTEMD_RUNS.is_dir() else ():
            if config.config is None and unit.is_symlink():
                findings.append(
                    f"systemd starts {unit.name} by itself, and it would have the port; "
                    f"`systemctl disable --now {unit.stem}` leaves it to safekit"
                )
        return findings

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"apache.{self.context.name}")

    @property
    def _log(self) -> Path:
        """What Apache says before its own error log is open."""
        return self.context.state_dir / "apache.log"

    async def start(self) -> None:
        if main_process.find(self._family) is not None:
            await self._until_listening()
            return
        await self._family.end_all(0.0)
        found = program.find(self.config)
        environment = await program.environment(found, {**self.context.settings, **self._family.environment})
        await self._check(found, environment)
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.unlink()
        launch(
            [*self._argv(found), "-DFOREGROUND"],
            output=self._log,
            env=environment,
            cgroup=self._family.home(),
        )
        await self._until_listening()

    def _argv(self, found: Program) -> list[str]:
        own = ["-f", str(self.config.config)] if self.config.config else []
        return [str(found.path), *own]

    async def _check(self, found: Program, environment: Mapping[str, str]) -> None:
        """ConfigError with Apache's own words, which name file and line, when the configuration has errors."""
        done: Completed = await run([*self._argv(found), "-t"], timeout_s=self._patience_s, env=environment)
        if not done.ok:
            raise ConfigError(f"the configuration of Apache has errors: {done.why()}", hint="correct it on this node")

    @property
    def _patience_s(self) -> float:
        """What a start may take, so that its failure is told before the host gives it up."""
        return self.config.start_timeout.seconds * 0.9

    async def _until_listening(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._patience_s
        pid = main_process.find(self._family)
        pidfd = open_pidfd(pid) if pid is not None else None
        if pid is None or pidfd is None:
            raise self._ended()
        try:
            while not main_process.listens(pid):
                if await wait_ended(pidfd, LOOK_S):
                    raise self._ended()
                if asyncio.get_running_loop().time() > deadline_s:
                    raise ConfigError(f"Apache did not listen within {self._patience_s:g} s: {self._last_words()}")
        finally:
            os.close(pidfd)

    def _ended(self) -> ConfigError:
        return ConfigError(
            f"Apache ended as it started: {self._last_words() or 'it said nothing'}",
            hint="its error log may say more; is the port taken by another program?",
        )

    def _last_words(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 4096))
            return " | ".join(file.read().decode(errors="replace").splitlines()[-3:])
        return ""

    async def stop(self, force: bool) -> None:
        if not force:
            await self._finish_requests()
        await self._family.end_all(0.0 if force else TERM_S)

    async def _finish_requests(self) -> None:
        """It listens no more, and each worker ends when its requests are answered. The main process looks for that
        only once a second, so it is the workers that are waited for."""
        main = main_process.find(self._family)
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
        pid = main_process.find(self._family)
        if pid is None:
            left = self._family.pids()
            if left:
                return Status(ResourceState.FAILED, f"its main process is gone, workers are left: {describe(left)}")
            return Status(ResourceState.STOPPED)
        if not main_process.listens(pid):
            return Status(ResourceState.FAILED, f"process {pid} listens nowhere")
        return Status(ResourceState.STARTED, f"process {pid}")

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
        """No data is replicated here, and two web servers with the same pages harm nobody: `availability`."""
        options: dict[str, Any] = dict(request.options)
        if request.port is not None:
            options["port"] = request.port
        ApacheConfig.model_validate(options)
        if request.kind != "light" and not request.vips:
            raise ConfigError(
                f"a {request.kind} of Apache needs an address for its clients", hint="add --vip ADDRESS/PREFIX"
            )
        content: dict[str, Any] = {"kind": request.kind}
        if request.kind != "light":
            content["heartbeat"] = {"interval": "100ms", "lost_after": "1s"}
        if request.kind == "mirror":
            content["isolation"] = "availability"
        vips = [{"vip": {"address": vip}} for vip in request.vips]
        sharing = [_sharing(request)] if request.kind == "farm" else []
        content["pipeline"] = [*sharing, *vips, {"apache": options}]
        return content


def _sharing(request: ModuleRequest) -> dict[str, Any]:
    """Before the addresses, so that no packet finds one without the filter."""
    rule = {"port": request.port or 80, "hash": "client_address" if request.sticky else "client_session"}
    return {"nft-lb": {"addresses": [vip.partition("/")[0] for vip in request.vips], "rules": [rule]}}
