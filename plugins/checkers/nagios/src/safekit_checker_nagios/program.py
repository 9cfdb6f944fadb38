"""Runs a plugin within its bounds, and ends whatever it leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from safekit_checker_nagios.config import PLUGIN_PLACES, NagiosConfig
from safekit_sdk import Context
from safekit_sdk.cgroup import cgroup_members, remove_cgroup
from safekit_sdk.process import Completed, Family, end_processes, run
from safekit_sdk.surroundings import DEFAULT_PATH, account

OUTPUT_BYTES = 65536
"""The end of what it printed, which is kept; a plugin prints a few lines."""


class Program:
    def __init__(self, config: NagiosConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._family = Family.of(context, f"checker.nagios.{context.name}")

    async def run(self) -> Completed:
        """ConfigError when it cannot be executed."""
        config, home = self._config, self._family.home()
        done = await run(
            config.command,
            timeout_s=config.patience_s,
            env=self._environment(),
            cwd=config.directory or Path("/"),
            output_limit_bytes=OUTPUT_BYTES,
            errors_apart=True,
            cgroup=home,
            end_cgroup=home is not None,
            user=config.user,
            grace_s=0.0,
        )
        if cgroup_members(home) if home else self._family.pids():
            await end_processes(home or self._family.pids, 0.0)
        return done

    def close(self) -> None:
        if self._family.cgroup is not None:
            remove_cgroup(self._family.cgroup)

    def _environment(self) -> dict[str, str]:
        """Numbers with a point whatever the machine's language, and the module's variables."""
        return {
            **account(self._config.user or os.geteuid()),
            "LC_ALL": "C",
            **self._context.settings,
            "PATH": search_path(self._context.settings.get("PATH")),
            **self._family.environment,
        }


def search_path(own: str | None = None) -> str:
    """Where plugins are looked for, and what they call."""
    return ":".join((*PLUGIN_PLACES, own or os.environ.get("PATH") or DEFAULT_PATH))
