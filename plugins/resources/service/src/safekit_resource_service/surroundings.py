"""What every form of service needs: its log, its environment, its processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from safekit_resource_service.config import ServiceConfig
from safekit_resource_service.log import UserLog
from safekit_sdk import Context
from safekit_sdk.process import Completed, Family, run

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INHERITED = ("LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL")


class Surroundings:
    def __init__(self, config: ServiceConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.log = UserLog(context.state_dir / "user.log", config.log_size_kb * 1024)
        self.family = Family.of(context, f"service.{context.name}.{context.scope}")

    def note(self, line: str) -> None:
        """One line for the module's log and the user log."""
        self.log.write(line)
        self.context.log(line)

    def environment(self) -> dict[str, str]:
        """A clean one, the same at boot as from a terminal; SafeKit's names and the module's variables in it."""
        binaries = Path(sys.executable).parent
        base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **base,
            **self.context.settings,
            "PATH": f"{binaries}:{self.context.settings.get('PATH') or os.environ.get('PATH') or _DEFAULT_PATH}",
            "SAFE": sys.prefix,
            "SAFEBIN": str(binaries),
            "SAFEMODULE": self.context.module,
            "SAFEUSERBIN": str(self.config.scripts or binaries),
            "SAFEUSERCONF": str(
                self.config.scripts.parent if self.config.scripts else self.config.directory or Path("/")
            ),
            "SAFEVAR": str(self.context.run_dir),
            "SAFEUSERVAR": str(self.context.state_dir),
            **self.family.environment,
        }

    async def run(self, argv: Sequence[str], title: str, timeout_s: float, **extra: str) -> Completed:
        """Run to its end, its output to the user log and line by line to the module's log."""
        self.log.write(f"{title}: {' '.join(argv)}")
        async with self.log.bounded():
            done = await run(
                argv,
                timeout_s=timeout_s,
                env={**self.environment(), **extra},
                cwd=self.config.directory or Path("/"),
                output=self.log.path,
                cgroup=self.family.home(),
                user=self.config.user,
            )
        for line in done.output.splitlines():
            self.context.log(f"{title}: {line}")
        if not done.ok:
            self.note(f"{title}: {done.why()}")
        return done
