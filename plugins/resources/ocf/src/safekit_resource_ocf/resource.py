"""An OCF resource agent as a step: started and stopped by its actions, watched by its monitor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from safekit_resource_ocf import limits
from safekit_resource_ocf.agent import Agent, Answer
from safekit_resource_ocf.agents import known_metadata, objection, read_metadata
from safekit_resource_ocf.codes import RUNNING, STOPPED, Code, mend
from safekit_resource_ocf.config import OcfConfig
from safekit_resource_ocf.metadata import Metadata
from safekit_resource_ocf.notification import Moment, Operation, Pair, environment, operation_between
from safekit_sdk import (
    ConfigError,
    Context,
    ModuleKind,
    Peer,
    Resource,
    ResourceState,
    SafekitError,
    Scope,
    Status,
    Verdict,
)

LEFT_S: Final = 2.0
"""How long what a stop left running may take to end after SIGTERM."""
MEET_S: Final = 4.0
"""How long the agent may take to hear of the other node; the host gives 5 s for it."""
_STOP_SHARE: Final = 0.4
_AGAIN_SHARE: Final = 0.25
_LOOK_SHARE: Final = 0.15
"""The parts of a forced stop: the agent's stop, another one after its processes were killed, a look."""


class OcfResource(Resource[OcfConfig], api=1):
    """Any OCF resource agent, unchanged: started, stopped, promoted and watched by its own actions."""

    def __init__(self, config: OcfConfig, context: Context) -> None:
        super().__init__(config, context)
        self._agent = Agent(config, context)
        self._turn = asyncio.Lock()
        self._looking: asyncio.Task[Verdict] | None = None
        self._metadata: Metadata | None = None
        self._pair = Pair(context.node)
        self._hangs = 0
        self._told = "not looked at yet"

    @classmethod
    def ident(cls, config: OcfConfig) -> str:
        """The agent's type."""
        return config.name or config.type[:63]

    @classmethod
    def scopes(cls, config: OcfConfig, kind: ModuleKind) -> tuple[Scope, ...]:
        """Asked when the file is compiled, and only then: so here the settings are compared with the agent's own
        words. ConfigError when they do not fit; a machine without the agent has no objection."""
        if not objection(config.path):
            _compare(config, known_metadata(config.path))
        return ("both",) if config.promotable and kind == "mirror" else super().scopes(config, kind)

    @classmethod
    def preflight(cls, config: OcfConfig, kind: ModuleKind) -> list[str]:
        found = [trouble] if (trouble := objection(config.path)) else []
        if config.promotable and kind != "mirror":
            found.append(f"a {kind} module has no primary: nothing is ever promoted; remove `promotable`")
        for secret in config.secrets.values():
            try:
                secret.reveal()
            except ConfigError as error:
                found.append(f"{error.message}; {error.hint}")
        return found

    # -- start and stop

    async def start(self) -> None:
        async with self._alone():
            self._begun.touch(mode=0o600)
            await self._require("start")
            await self._became("start")

    async def stop(self, force: bool) -> None:
        async with self._alone():
            if not objection(self.config.path):
                await (self._force() if force else self._stop())
            elif self._begun.exists():
                raise ConfigError(
                    objection(self.config.path), hint="it was started here, and cannot be stopped without"
                )
            await self._agent.family.end_all(0.0 if force else LEFT_S)
            self._promoted.unlink(missing_ok=True)
            self._begun.unlink(missing_ok=True)

    async def _stop(self) -> None:
        await self._notify("pre", "stop")
        await self._require("stop")
        seen = await self._probe(limits.bound_s(self.config, "stop") * limits.PROBE_SHARE)
        if seen.code in RUNNING:
            raise ConfigError(
                f"{self.config.agent} says that it has stopped, and its monitor that it runs: {seen.words}",
                hint="it is stopped by force now",
            )
        if left := self._agent.family.pids():
            self.context.log(f"{self.config.agent} left {len(left)} processes running after its stop; they are ended")
        await self._became("stop")

    async def _force(self) -> None:
        """The standard has no stop by force: the agent's, then the end of its processes, then the agent's again. What
        decides is what is seen afterwards."""
        bound_s = self.config.force_stop_timeout.seconds
        answer = await self._agent.act("stop", bound_s * _STOP_SHARE)
        await self._agent.family.end_all(0.0)
        if answer.code != Code.OK:
            answer = await self._agent.act("stop", bound_s * _AGAIN_SHARE)
        seen = await self._probe(bound_s * _LOOK_SHARE)
        if seen.code in STOPPED or (answer.code == Code.OK and seen.code not in RUNNING):
            self._tell("")
            return
        raise ConfigError(
            f"{self.config.agent} may still run: stop: {answer.words}; monitor: {seen.words}", hint=_hint(answer)
        )

    async def status(self) -> Status:
        if trouble := objection(self.config.path):
            return Status(ResourceState.FAILED if self._begun.exists() else ResourceState.STOPPED, trouble)
        metadata = await self._known()
        async with self._turn:
            seen = await self._probe(limits.monitor_s(self.config, metadata, promoted=False))
        if seen.code in STOPPED:
            return Status(ResourceState.STOPPED, seen.words)
        return Status(ResourceState.STARTED if seen.code in RUNNING else ResourceState.FAILED, seen.words)

    async def inspect(self, question: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - a hook of the SDK
        place = self._agent.attributes
        names = sorted(path.name for path in place.glob("[!.]*"))[:20] if place.is_dir() else []
        said = {f"attribute {name}": (place / name).read_text(errors="replace")[:200] for name in names}
        return {"agent": self.config.agent, "instance": self._agent.instance, "monitor": self._told, **said}

    # -- in the two roles of a mirror

    async def promote(self) -> None:
        if not self.config.promotable:
            return
        async with self._alone():
            self._promoted.touch(mode=0o600)
            await self._notify("pre", "promote")
            await self._require("promote")
            await self._became("promote")

    async def demote(self, force: bool) -> None:
        """By force: what cannot be demoted is stopped. The watch then says that it is down."""
        if not self.config.promotable:
            return
        async with self._alone():
            try:
                await self._demote(force)
            except SafekitError as error:
                if not force:
                    raise
                self.context.log(f"{error.message}; it is stopped, as it must not stay promoted")
                await self._force()
            self._promoted.unlink(missing_ok=True)

    async def _demote(self, force: bool) -> None:
        if force:
            answer = await self._agent.act("demote", self.config.force_stop_timeout.seconds * 0.15)
            self._accept("demote", answer)
            return
        await self._notify("pre", "demote")
        await self._require("demote")
        seen = await self._probe(limits.bound_s(self.config, "demote") * limits.PROBE_SHARE)
        if seen.code == Code.PROMOTED:
            raise ConfigError(
                f"{self.config.agent} is still promoted after its demote", hint="it is demoted by force now"
            )
        await self._became("demote")

    async def meet(self, peer: Peer) -> None:
        """What the other node's instance has become is told to the agent here, after it happened."""
        place = peer.place if peer.place in ("started", "promoted") else ""
        operation = operation_between(self._pair.peer_is, place)
        self._pair = Pair(self.context.node, peer.node, self._pair.own_is, self._pair.peer_is)
        if operation is not None and self.config.promotable:
            async with self._turn:
                await self._notify("post", operation, peer.node, MEET_S)
            self._pair = self._pair.after(peer.node, operation)

    async def _became(self, operation: Operation) -> None:
        """It is done: the agent is told, the other node hears of it."""
        if operation != "stop":
            await self._notify("post", operation)
        self._pair = self._pair.after(self.context.node, operation)
        self._tell(self._pair.own_is)

    def _tell(self, place: str) -> None:
        if self.config.promotable:
            self.tell_place(place or "stopped")

    async def _notify(self, moment: Moment, operation: Operation, node: str = "", timeout_s: float = 0.0) -> None:
        """It cannot fail, says the standard; what goes wrong is logged."""
        if not (self.config.promotable and self.config.notify):
            return
        metadata = await self._known()
        if not metadata.has("notify"):
            return
        most_s = timeout_s or limits.bound_s(self.config, operation) * limits.NOTIFY_SHARE
        advised_s = metadata.advice("notify").timeout_s or limits.DEFAULT_S
        words = environment(self._pair, self._agent.instance, moment, operation, node or self.context.node)
        answer = await self._agent.act("notify", min(most_s, advised_s), more=words)
        if answer.code != Code.OK:
            self.context.log(f"{self.config.agent}: notify ({moment}-{operation}): {answer.words}")

    # -- calling the agent

    @property
    def _begun(self) -> Path:
        """There from before the first start until after a stop."""
        return self.context.run_dir / "begun"

    @property
    def _promoted(self) -> Path:
        """There from before a promotion until after a demotion."""
        return self.context.run_dir / "promoted"

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Never two actions at a time. A monitor under way is given up: it changes nothing, and may hang."""
        if self._looking is not None:
            self._looking.cancel()
        async with self._turn:
            yield

    async def _known(self) -> Metadata:
        """The agent's own words, read once; without them it is called all the same, with the standard's times."""
        if self._metadata is None:
            try:
                self._metadata = await read_metadata(self.config.path)
            except ConfigError as error:
                self.context.log(f"{error.message}; its advice is not known")
                self._metadata = Metadata()
        return self._metadata

    async def _require(self, action: Operation) -> None:
        answer = await self._agent.act(action, limits.step_s(self.config, await self._known(), action))
        self._accept(action, answer)

    def _accept(self, action: Operation, answer: Answer) -> None:
        """What does not run is not promoted either."""
        if answer.code != Code.OK and (action, answer.code) != ("demote", Code.NOT_RUNNING):
            raise ConfigError(f"{self.config.agent} {action}: {answer.words}", hint=_hint(answer))

    async def _probe(self, timeout_s: float) -> Answer:
        return await self._agent.act("monitor", timeout_s)

    # -- the monitor

    async def watch(self) -> AsyncIterator[Verdict]:
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            verdict = await self._look()
            if verdict is not None:
                self._told = verdict.reason
                yield verdict
            every_s = limits.interval_s(self.config, await self._known(), promoted=self._promoted.exists())
            await asyncio.sleep(max(0.0, begun_s + every_s - loop.time()))

    async def _look(self) -> Verdict | None:
        """None when something else was asked of the agent meanwhile."""
        self._looking = looking = asyncio.create_task(self._verdict())
        try:
            await asyncio.wait({looking})
            return None if looking.cancelled() else looking.result()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            self._looking = None

    async def _verdict(self) -> Verdict:
        metadata = await self._known()
        async with self._turn:
            promoted = self._promoted.exists()
            interval_s = limits.interval_s(self.config, metadata, promoted=promoted)
            timeout_s = limits.monitor_s(self.config, metadata, promoted=promoted)
            try:
                answer = await self._agent.act("monitor", timeout_s, interval_s=interval_s)
            except ConfigError as error:
                return Verdict.unknown(f"{error.message}; {error.hint}")
        return self._judged(answer, promoted)

    def _judged(self, answer: Answer, promoted: bool) -> Verdict:
        if answer.code is None:
            return self._without_answer(answer)
        self._hangs = 0
        reason = f"{self.config.agent} monitor: {answer.words}"
        facts = {"code": str(answer.code), "took_ms": f"{answer.duration_s * 1000:.0f}"}
        if self.config.promotable and answer.code in RUNNING and promoted != (answer.code == Code.PROMOTED):
            wrong = "is not promoted, on the primary" if promoted else "is promoted, on a node that is not primary"
            return Verdict.down(f"{reason}: it {wrong}", **facts)
        if answer.code in RUNNING:
            return Verdict.up(reason, **facts)
        advice = mend(answer.code)
        return Verdict.down(f"{reason} ({advice})" if advice else reason, **facts)

    def _without_answer(self, answer: Answer) -> Verdict:
        """One that was killed by somebody says nothing; one that hangs does so for a reason when it goes on."""
        if not answer.timed_out:
            return Verdict.unknown(f"{self.config.agent} monitor: {answer.words}")
        self._hangs += 1
        reason = f"{self.config.agent} monitor: {answer.words}, for the {self._hangs}. time in a row"
        if self.config.hang_limit and self._hangs >= self.config.hang_limit:
            return Verdict.down(reason)
        return Verdict.unknown(reason)


def _compare(config: OcfConfig, metadata: Metadata) -> None:
    """The settings with what the agent says of itself. ConfigError that tells all that is wrong with the parameters."""
    if wrong := metadata.objections(config.plain, config.secrets):
        raise ConfigError(
            f"{config.agent}: {'; '.join(wrong)}", hint=f"`safekit ocf show {config.agent}` prints its parameters"
        )
    if config.promotable and not metadata.promotable:
        raise ConfigError(
            f"{config.agent} cannot be promoted: it has no actions promote and demote", hint="remove `promotable`"
        )
    depths = metadata.depths()
    if config.check_level and config.check_level not in depths:
        known = ", ".join(map(str, depths))
        raise ConfigError(f"{config.agent} has no monitor of depth {config.check_level}", hint=f"check_level: {known}")
    limits.check(config, metadata)


def _hint(answer: Answer) -> str:
    return mend(answer.code) or ("give it longer, or see what it waits for" if answer.timed_out else "")
