"""Runs a program that is to bring the processes back, within bounds: in time, in output, and in how often."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from safekit_checker_errd.config import ErrdConfig
from safekit_sdk import ConfigError, Context
from safekit_sdk.process import Family, run
from safekit_sdk.surroundings import environment

OUTPUT_BYTES = 4096
LOG = "repair.log"
"""What the last repair wrote, and what it left running still writes, in the checker's state directory."""
_SAID_CHARS = 300


class Repairs:
    """What a program of a repair leaves running is the service, and lives on."""

    def __init__(self, config: ErrdConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._family = Family.of(context, f"checker.errd.{context.name}")
        self._began_s: deque[float] = deque(maxlen=config.repairs)

    @property
    def worn_out(self) -> str:
        """Why no more is tried now; empty when one may be."""
        full = len(self._began_s) == self._config.repairs
        if not full or asyncio.get_running_loop().time() - self._began_s[0] > self._config.repairs_within.seconds:
            return ""
        return f"{self._config.repairs} repairs within {self._config.repairs_within} were tried already"

    async def run(self, why: str) -> str:
        """Run it to its end. Empty, or why it failed."""
        command = self._config.repair or ()
        self._began_s.append(asyncio.get_running_loop().time())
        log = self._context.state_dir / LOG
        log.unlink(missing_ok=True)
        self._context.log(f"errd: {why}; {command[0]} is run to repair it")
        try:
            done = await run(
                command,
                timeout_s=self._config.repair_timeout.seconds,
                env={**environment(self._context, None), **self._family.environment},
                cwd=Path("/"),
                output_limit_bytes=OUTPUT_BYTES,
                output=log,
                cgroup=self._family.home(),
                grace_s=0.0,
            )
        except ConfigError as error:
            return str(error)
        return "" if done.ok else " ".join(f"{command[0]}: {done.why()}".split())[:_SAID_CHARS]
