"""Cuts a lost node off from power before this one takes over, and tells in time when the device would not do it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from safekit_resource_fence.config import FenceConfig
from safekit_resource_fence.device import DONE, OFF, Device, findings, lacking
from safekit_sdk import (
    ConfigError,
    Context,
    ModuleKind,
    PeerError,
    RefusedError,
    Resource,
    ResourceState,
    SafekitError,
    Scope,
    Status,
    Verdict,
)
from safekit_sdk.process import Family

LOOK_S: Final = 0.5
"""Between two questions whether the node is off, and before another try."""


class FenceResource(Resource[FenceConfig], api=1):
    """Cuts the power of a lost node through a fence agent (STONITH), and watches that the device answers."""

    restarts = False

    def __init__(self, config: FenceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._family = Family.of(context, f"fence.{context.name}")
        self._device = Device(config, self._family)
        self._fencing = False
        self._looking: asyncio.Task[Verdict] | None = None
        self._told = "not looked at yet"

    @classmethod
    def ident(cls, config: FenceConfig) -> str:
        """The agent's name."""
        text = config.name or config.agent.rpartition("/")[2] or "fence"
        return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in text).lstrip(".-")[:63]

    @classmethod
    def scopes(cls, config: FenceConfig, kind: ModuleKind) -> tuple[Scope, ...]:  # noqa: ARG003 - a hook of the SDK
        """In every running state: it is the secondary that fences."""
        return ("both",)

    @classmethod
    def preflight(cls, config: FenceConfig, kind: ModuleKind) -> list[str]:
        if kind != "mirror":
            return [f"only a mirror fences; a {kind} module never would; remove it"]
        return findings(config)

    @property
    def _mark(self) -> Path:
        return self.context.run_dir / f"fence.{self.context.name}"

    async def start(self) -> None:
        """Never fails: a device that does not answer keeps no application from running. `watch` asks it at once."""
        self._mark.touch(mode=0o600)

    async def stop(self, force: bool) -> None:  # noqa: ARG002 - an agent that still runs is ended either way
        await self._family.end_all(0.0)
        self._mark.unlink(missing_ok=True)

    async def status(self) -> Status:
        """Asks the device."""
        if not self._mark.exists():
            return Status(ResourceState.STOPPED)
        trouble = await self._trouble()
        return Status(ResourceState.FAILED if trouble else ResourceState.STARTED, trouble)

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - a hook of the SDK
        return {"agent": self.config.agent, "device": self._told}

    # -- fencing

    async def fence(self, node: str) -> None:
        """Off when it returns: the agent's `off` succeeded, and then its `status` said off. RefusedError for this node
        itself, ConfigError for what must be set right first, PeerError when the node may still run."""
        self._refuse(node)
        async with self._alone():
            await self._refuse_without_status()
            await asyncio.sleep(self.config.delay_s(node))
            for number in range(self.config.tries):
                if number:
                    await asyncio.sleep(LOOK_S)
                if await self._cut(node):
                    return
        raise PeerError(
            f"{node} is not known to be off after {self.config.tries} tries: {self._told}",
            hint="see that it is off, by hand if need be, and then "
            f"`safekit module prim {self.context.module} --force` here",
        )

    def _refuse(self, node: str) -> None:
        if node == self.context.node:
            raise RefusedError(f"{node} is this node, which does not fence itself")
        if node not in self.config.nodes:
            raise ConfigError(
                f"there is no entry for {node}, only for {', '.join(self.config.nodes)}", hint="add it to `nodes:`"
            )

    async def _refuse_without_status(self) -> None:
        """Before the power is cut, which would be for nothing. Metadata that cannot be read hinders nobody."""
        with contextlib.suppress(ConfigError):
            metadata = await self._device.metadata()
            if lacks := lacking(self.config, metadata):
                raise RefusedError(lacks[0])

    async def _cut(self, node: str) -> bool:
        """One try: whether the node is off for certain. Its status is believed only after an `off` that succeeded: a
        broken agent may end with 2 whatever it is asked."""
        answer = await self._device.ask("off", node, self.config.off_timeout.seconds)
        self._tell(f"off {node}: {answer.words}")
        if answer.code != DONE:
            return False
        return await self._confirmed(node) if self.config.confirm else True

    async def _confirmed(self, node: str) -> bool:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.status_timeout.seconds
        while True:
            answer = await self._device.ask("status", node, self.config.status_timeout.seconds)
            self._tell(f"status {node}: {answer.words}")
            if answer.code == OFF:
                return True
            if loop.time() + LOOK_S > deadline_s:
                return False
            await asyncio.sleep(LOOK_S)

    def _tell(self, words: str) -> None:
        if words != self._told:
            self.context.log(f"{self.config.agent}: {words}")
        self._told = words

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """A look at the device that is under way is ended: many devices serve one session at a time."""
        self._fencing = True
        try:
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.wait({self._looking})
            yield
        finally:
            self._fencing = False

    # -- watching

    async def watch(self) -> AsyncIterator[Verdict]:
        """Ask the device every `interval`, so that its failure is known before it is needed."""
        while True:
            verdict = await self._look()
            if verdict is not None:
                self._told = verdict.reason
                yield verdict
            await asyncio.sleep(self.config.interval.seconds)

    async def _look(self) -> Verdict | None:
        """None when a node is being fenced meanwhile."""
        if self._fencing:
            return None
        self._looking = looking = asyncio.create_task(self._verdict())
        try:
            await asyncio.wait({looking})
            return None if looking.cancelled() else looking.result()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            self._looking = None

    async def _verdict(self) -> Verdict:
        trouble = await self._trouble()
        return Verdict.down(trouble) if trouble else Verdict.up(f"{self.config.agent}: the device answers")

    async def _trouble(self) -> str:
        """What would hinder a fencing now, or nothing."""
        if self.context.node not in self.config.nodes:
            known = ", ".join(self.config.nodes)
            return f"there is no entry for {self.context.node}, only for {known}; correct `nodes:`"
        try:
            return await self._trouble_with_agent()
        except SafekitError as error:
            return f"{error.message}; {error.hint}" if error.hint else error.message

    async def _trouble_with_agent(self) -> str:
        if lacks := lacking(self.config, await self._device.metadata()):
            return lacks[0]
        for node in self.config.nodes:
            if node != self.context.node:
                answer = await self._device.ask("monitor", node, self.config.status_timeout.seconds)
                if answer.code not in (DONE, OFF):
                    return f"the fence device does not answer for {node}: monitor: {answer.words}"
        return ""
