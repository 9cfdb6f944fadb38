"""A program: in the foreground, or one that goes to the background by itself and writes a pid file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from safekit_resource_service.form import Form
from safekit_resource_service.main_process import Noted, read_pidfile
from safekit_resource_service.surroundings import Surroundings
from safekit_sdk import ConfigError, ResourceState, Status, Transition
from safekit_sdk.process import Program, launch, open_pidfd, wait_ended
from safekit_sdk.procfs import describe

SHARE: Final = 0.8
LOOK_S: Final = 0.02
LEFT_S: Final = 2.0
"""How long what outlives the main process may take to end after SIGTERM."""


class Command(Form):
    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._noted = Noted(around.context.run_dir / "main")
        self._program: Program | None = None

    async def start(self) -> None:
        if await self.main_pid() is not None:
            return
        await self._end_all(0.0)
        if self.config.pidfile is not None:
            await self._start_daemon()
        else:
            await self._start_in_foreground()

    @property
    def _argv(self) -> tuple[str, ...]:
        if self.config.command is None:
            raise ConfigError("there is no command", hint="set `command:`")
        return self.config.command

    async def _start_in_foreground(self) -> None:
        around = self.around
        around.log.write(f"start: {' '.join(self._argv)}")
        around.log.rotate()
        self._program = launch(
            self._argv,
            output=around.log.path,
            env=around.environment(),
            cwd=self.config.directory or Path("/"),
            cgroup=around.family.home(),
            user=self.config.user,
        )
        self._noted.save(self._program.pid)
        pidfd = open_pidfd(self._program.pid)
        try:
            ended = pidfd is None or await wait_ended(pidfd, self.config.settle.seconds)
        finally:
            if pidfd is not None:
                os.close(pidfd)
        if ended:
            raise ConfigError(
                f"{self._argv[0]} {self.last_words() or 'ended'} at once: {around.log.tail()}",
                hint="does it go to the background by itself? then say where its `pidfile` is",
            )

    async def _start_daemon(self) -> None:
        pidfile = self.config.pidfile
        if pidfile is None:
            return
        if read_pidfile(pidfile) is None:
            pidfile.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.start_timeout.seconds * SHARE
        done = await self.around.run(self._argv, "start", deadline_s - loop.time())
        if not done.ok:
            raise ConfigError(f"{self._argv[0]}: {done.why()}", hint="`safekit log` has what it printed")
        while await self.main_pid() is None:
            if loop.time() > deadline_s:
                raise ConfigError(f"{pidfile} names no process of {self._argv[0]}", hint="correct `pidfile:`")
            await asyncio.sleep(LOOK_S)

    async def stop(self, force: bool) -> None:
        if not force:
            await self._ask_to_end()
        await self._end_all(0.0 if force else LEFT_S)

    async def _ask_to_end(self) -> None:
        """By the stop command, or SIGTERM to the main process, which may take most of the limit."""
        limit_s = self.config.stop_timeout.seconds * SHARE
        pid = await self.main_pid()
        pidfd = open_pidfd(pid) if pid is not None else None
        if pidfd is None:
            return
        try:
            if self.config.stop_command is not None:
                done = await self.around.run(self.config.stop_command, "stop", limit_s)
                if not done.ok:
                    raise ConfigError(f"the stop command: {done.why()}", hint="it is stopped by force now")
            else:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            if not await wait_ended(pidfd, limit_s):
                raise ConfigError(
                    f"process {pid} has not ended within {limit_s:g} s", hint="it is stopped by force now"
                )
        finally:
            os.close(pidfd)

    async def _end_all(self, grace_s: float) -> None:
        await self.around.family.end_all(grace_s)
        self._noted.forget()

    async def status(self) -> Status:
        pid = await self.main_pid()
        if pid is not None:
            return Status(ResourceState.STARTED, f"process {pid}")
        left = self.around.family.pids()
        if left:
            return Status(ResourceState.FAILED, f"the main process is gone, left are {describe(left)}")
        return Status(ResourceState.STOPPED)

    async def main_pid(self) -> int | None:
        if self.config.pidfile is None:
            return self._noted.pid()
        pid = read_pidfile(self.config.pidfile)
        return pid if pid is not None and self.around.family.owns(pid) else None

    def watches_a_process(self) -> bool:
        return True

    async def transition(self, change: Transition) -> None:
        await super().transition(change)
        if self.config.reload is not None and await self.main_pid() is not None:
            words = {"BEFORE": change.before, "AFTER": change.after, "ACTION": change.action}
            await self.around.run(self.config.reload, "reload", 8.0, **words)

    def last_words(self) -> str:
        status = self._program.poll() if self._program is not None else None
        if status is None:
            return ""
        return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
