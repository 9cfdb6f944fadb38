"""A health URL for a load balancer that is not ours: in a cloud, or where no network is common to the servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from safekit_resource_health.config import HealthConfig
from safekit_resource_health.mark import Mark
from safekit_resource_health.server import READY
from safekit_sdk import ConfigError, ModuleKind, Resource, ResourceState, Scope, Share, Status, Verdict
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import describe

REFRESH_S: Final = 1.0
BELIEVED_S: Final = 3.5
"""For how long the mark of a mirror or light module is believed without a refresh by its host."""
LOOK_S: Final = 0.02


class HealthResource(Resource[HealthConfig], api=1):
    """Two instances: the server, on from prestart on; and the mark that this node serves, set last and taken first."""

    _has_share = False

    @classmethod
    def ident(cls, config: HealthConfig) -> str:
        return config.name or "health"

    @classmethod
    def scopes(cls, config: HealthConfig, kind: ModuleKind) -> tuple[Scope, ...]:
        return ("pre", *super().scopes(config, kind))

    @classmethod
    def preflight(cls, config: HealthConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        if config.address is None:
            return []
        try:
            with socket.socket(socket.AF_INET if config.address.version == 4 else socket.AF_INET6) as tried:
                tried.bind((str(config.address), 0))
        except OSError as error:
            mend = "give `address` one that each node has, or leave it out"
            return [f"nothing can listen at {config.address} on this machine: {error.strerror}; {mend}"]
        return []

    @property
    def _serves(self) -> bool:
        """Whether this is the instance that answers, and not the one that marks."""
        return self.context.scope == "pre"

    @property
    def _mark(self) -> Mark:
        return Mark(self.context.run_dir / "mark")

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"health.{self.context.name}")

    @property
    def _log(self) -> Path:
        return self.context.run_dir / "server.log"

    async def start(self) -> None:
        if not self._serves:
            self._mark.on(0.0 if self.context.kind == "farm" else BELIEVED_S)
        elif not self._family.pids():
            self._mark.set("off")
            await self._begin()

    async def _begin(self) -> None:
        self._log.unlink(missing_ok=True)
        words = [str(self._mark.path), str(self.config.address or ""), str(self.config.port), self.config.path]
        program = launch(
            [sys.executable, "-m", "safekit_resource_health.server", *words],
            output=self._log,
            env={**os.environ, **self._family.environment},
            cgroup=self._family.home(),
        )
        while READY not in self._said():
            if program.poll() is not None:
                why = self._said().strip() or "its process ended"
                raise ConfigError(
                    f"the health URL cannot be served at port {self.config.port}: {why}",
                    hint="another module's health URL may have the port; give each its own with `port:`",
                )
            await asyncio.sleep(LOOK_S)

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")
        return ""

    async def stop(self, force: bool) -> None:
        if not self._serves:
            self._mark.off()
            return
        await self._family.end_all(0.0 if force else 1.0)
        self._mark.path.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)

    async def status(self) -> Status:
        if self._serves:
            pids = self._family.pids()
            return Status(ResourceState.STARTED if pids else ResourceState.STOPPED, describe(pids) if pids else "")
        return Status(ResourceState.STARTED if self._mark.is_on() else ResourceState.STOPPED)

    async def share(self, share: Share) -> None:
        """A drained node of a farm gets no traffic."""
        self._has_share = bool(share.held)
        if not self._serves and not share.held:
            self._mark.on(0.0)

    async def lease(self, seconds: float) -> None:
        if not self._serves and self._has_share:
            self._mark.on(seconds)

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - a hook of the SDK
        return {"url": f"http://{self.config.address or self.context.node}:{self.config.port}{self.config.path}"}

    async def watch(self) -> AsyncIterator[Verdict]:
        """Keep the mark believed, and the server running."""
        while True:
            yield await self._look()
            await asyncio.sleep(REFRESH_S)

    async def _look(self) -> Verdict:
        if self._serves:
            return await self._look_at_server()
        if self.context.kind != "farm" and self._mark.is_on():
            self._mark.on(BELIEVED_S)
        return Verdict.up("marked as serving") if self._mark.is_on() else Verdict.down("the mark is gone")

    async def _look_at_server(self) -> Verdict:
        """A server that was killed is started again."""
        if not self._family.pids():
            if not self._mark.path.exists():
                return Verdict.down("the server and its mark are gone")
            self.context.log("the process that answers for the health URL was gone, and is started again")
            try:
                await self._begin()
            except ConfigError as error:
                return Verdict.down(error.message)
        return Verdict.up("it answers")
