"""Start and stop scripts with SafeKit's names, arguments and environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from safekit_resource_service.form import Form
from safekit_resource_service.main_process import read_pidfile
from safekit_sdk import ConfigError, ModuleKind, ResourceState, Scope, Status, Transition
from safekit_sdk.process import Completed
from safekit_sdk.procfs import describe

NAMES: Final[dict[Scope, tuple[str, str]]] = {
    "pre": ("prestart", "poststop"),
    "both": ("start_both", "stop_both"),
    "prim": ("start_prim", "stop_prim"),
    "second": ("start_second", "stop_second"),
    "sec": ("start_sec", "stop_sec"),
}
TRANSITION: Final = "transition"
SHARE: Final = 0.8
"""The share of a limit that a script has; the rest is for ending what it left."""
LEFT_S: Final = 2.0
"""How long what a stop script left may take to end after SIGTERM."""


def known(directory: Path) -> list[str]:
    """The scripts that are there, in the order of NAMES."""
    names = [name for pair in NAMES.values() for name in pair] + [TRANSITION]
    return [name for name in names if (directory / name).is_file()]


def scopes(directory: Path, kind: ModuleKind) -> tuple[Scope, ...]:
    """Those that have a script; at least one."""
    possible: tuple[Scope, ...] = tuple(NAMES) if kind == "mirror" else ("pre", "both")
    there = known(directory)
    return tuple(scope for scope in possible if set(NAMES[scope]) & set(there)) or possible[1:2]


def findings(directory: Path) -> list[str]:
    if not directory.is_dir():
        return [f"{directory} is not there; put the scripts there on each node"]
    if not known(directory):
        return [f"{directory} has none of the scripts: {', '.join(name for pair in NAMES.values() for name in pair)}"]
    closed = [name for name in known(directory) if not os.access(directory / name, os.X_OK)]
    return [f"{directory / name} is not executable; chmod +x" for name in closed]


class Scripts(Form):
    """The instance of one scope."""

    @property
    def _directory(self) -> Path:
        if self.config.scripts is None:
            raise ConfigError("there is no directory of scripts", hint="set `scripts:`")
        return self.config.scripts

    @property
    def _started(self) -> Path:
        return self.around.context.run_dir / "started"

    async def start(self) -> None:
        if self._started.exists():
            return
        name = NAMES[self.around.context.scope][0]
        done = await self._run(name, self.config.start_timeout.seconds * SHARE)
        if done is not None and not done.ok:
            raise ConfigError(f"{name}: {done.why()}", hint="`safekit log` has what it printed")
        self._started.touch(mode=0o600)

    async def stop(self, force: bool) -> None:
        name = NAMES[self.around.context.scope][1]
        limit = self.config.force_stop_timeout if force else self.config.stop_timeout
        done = await self._run(name, limit.seconds * SHARE, *(["force"] if force else []))
        if done is not None and not done.ok and not force:
            raise ConfigError(f"{name}: {done.why()}", hint="it is stopped by force now")
        left = self.around.family.pids()
        if left and not force:
            self.around.note(f"{name} left {describe(left)} running; ended")
        await self.around.family.end_all(0.0 if force else LEFT_S)
        self._started.unlink(missing_ok=True)

    async def _run(self, name: str, timeout_s: float, *first: str) -> Completed | None:
        """None when there is no such script."""
        path = self._directory / name
        if not path.is_file():
            return None
        words = [*first, self.change.before, self.change.after, self.change.action]
        return await self.around.run([str(path), *words], name, timeout_s)

    async def status(self) -> Status:
        if self._started.exists():
            if self.watches_a_process() and await self.main_pid() is None:
                return Status(ResourceState.FAILED, f"{self.config.pidfile} names no living process")
            return Status(ResourceState.STARTED)
        left = self.around.family.pids()
        if left:
            return Status(ResourceState.FAILED, f"left of a start: {describe(left)}")
        return Status(ResourceState.STOPPED)

    async def main_pid(self) -> int | None:
        return read_pidfile(self.config.pidfile) if self.config.pidfile and self._started.exists() else None

    def watches_a_process(self) -> bool:
        return self.config.pidfile is not None

    async def transition(self, change: Transition) -> None:
        """Told once, by the instance of the first scope."""
        await super().transition(change)
        if self.around.context.scope == scopes(self._directory, self.around.context.kind)[0]:
            await self._run(TRANSITION, 8.0)
