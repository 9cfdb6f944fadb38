"""Containers: made by the engine that is configured, found and ended also without its help."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_podman import engine
from safekit_podman.config import PodmanConfig
from safekit_podman.container import SPARE_S, Container
from safekit_podman.engine import ASK_S, Engine
from safekit_podman.plan import Spec, data, needs_network, planned
from safekit_podman.together import nothing_runs, together
from safekit_sdk import App, ConfigError, ModuleKind, ModuleRequest, ResourceState, Status, Verdict
from safekit_sdk.config import PATIENCE
from safekit_sdk.installed import sentence
from safekit_sdk.module_files import with_data, without_data
from safekit_sdk.process import Family

FORCED_S: Final = 5.0
"""How long the engine may take for each of its words of a forced stop, so that there is time to do without it."""


class PodmanApp(App[PodmanConfig], api=1):
    """Containers of Podman or Docker, restarted in place when one ends or its health command fails."""

    live_keys: ClassVar[frozenset[str]] = frozenset({"health", "interval", "timeout", "fall"})

    @classmethod
    def ident(cls, config: PodmanConfig) -> str:
        return config.name or "podman"

    @classmethod
    def preflight(cls, config: PodmanConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        try:
            return engine.objections(config)
        except ConfigError as error:
            return [f"{error.where}: {sentence(error)}" if error.where else sentence(error)]

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"podman.{self.context.name}")

    @property
    def _engine(self) -> Engine:
        step = f"safekit-{self.context.module}-{self.context.name}"
        environment = {**engine.BASE, **self.context.settings, **self._family.environment}
        return Engine(self.config, step, environment)

    @property
    def _note(self) -> Path:
        return self.context.run_dir / "podman.started"

    def _started(self) -> list[Container]:
        """As they were started: the compose file may be another one now."""
        if self.config.image is not None:
            return self._made_of(planned(self.config, ""))
        try:
            noted = json.loads(self._note.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return []
        return self._made_of([Spec(name, "", health=tuple(health), ends=ends) for name, health, ends in noted])

    def _made_of(self, specs: list[Spec]) -> list[Container]:
        return [Container(spec, self._engine, self._family, self.context) for spec in specs]

    async def start(self) -> None:
        """Where one is missing, all are begun anew."""
        deadline_s = time.monotonic() + self.config.patience_s
        containers = self._started()
        if any(container.is_missing for container in containers) or not containers:
            await self._clear(ASK_S)
            containers = await self._prepare()
            for container in containers:
                await container.begin(max(deadline_s - time.monotonic(), 0.0))
                await container.until_ready(max(deadline_s - time.monotonic(), 0.0))
        for container in containers:
            await container.until_ready(max(deadline_s - time.monotonic(), 0.0))

    async def _prepare(self) -> list[Container]:
        step = self._engine.step
        specs = planned(self.config, step)
        if needs_network(specs, step):
            await self._engine.make_network()
        if self.config.compose is not None:
            noted = [(spec.service, spec.health, spec.ends) for spec in specs]
            self._note.write_text(json.dumps(noted), encoding="utf-8")
        return self._made_of(specs)

    async def stop(self, force: bool) -> None:
        """In reverse; the time is that of all together."""
        deadline_s = time.monotonic() + self.config.stop_timeout.seconds * PATIENCE - SPARE_S
        for container in () if force else reversed(self._started()):
            await container.quit(deadline_s - time.monotonic())
        await self._clear(FORCED_S if force else ASK_S)

    async def _clear(self, ask_s: float) -> None:
        """Also when the engine hangs: its processes are found without it, and what is left is only its own record."""
        gone = False
        try:
            gone = await self._engine.remove(ask_s)
            if gone and self.config.compose is not None:
                await self._engine.remove_network(ask_s)
        except ConfigError as error:
            self.context.log(f"the engine does not help: {sentence(error)}")
        for container in self._started():
            await container.processes.end(0.0)
        await self._family.end_all(0.0)
        self._note.unlink(missing_ok=True)
        if not gone:
            self.context.log(f"a record of a container {self._engine.step} may be left; nothing of it runs")

    async def status(self) -> Status:
        found = {each.spec.service: each.status() for each in self._started() if not each.spec.ends}
        if len(found) == 1:
            return next(iter(found.values()))
        states = {status.state for status in found.values()} or {ResourceState.STOPPED}
        if len(states) == 1 and not (states == {ResourceState.STOPPED} and self._family.pids()):
            return Status(states.pop(), ", ".join(f"{name} {status.detail}".strip() for name, status in found.items()))
        wrong = (f"{name}: {s.detail or s.state}" for name, s in found.items() if s.state is not ResourceState.STARTED)
        return Status(ResourceState.FAILED, "; ".join(wrong) or "others of its processes are left")

    def watch(self) -> AsyncIterator[Verdict]:
        """The end of a main process, at once; and the health commands."""
        watches = {each.spec.service: each.watch() for each in self._started() if not each.spec.ends}
        if len(watches) > 1:
            return together(watches)
        return next(iter(watches.values())) if watches else nothing_runs(self.config.interval.seconds)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """A mirror replicates the directories of the containers; what has none may run twice."""
        options = dict(request.options)
        if not {"image", "compose"} & options.keys():
            raise ConfigError("which container?", hint="add --set image=NAME:TAG, or --set compose=/PATH")
        config = PodmanConfig.model_validate(options)
        step = {"podman": config.model_dump(mode="json", include=set(options))}
        found = data(config)
        if not found:
            return without_data(request, "a container", step, request.port)
        last = [place.name for place in found]
        named = [{"name": f"data{n}"} if last.count(place.name) > 1 else {} for n, place in enumerate(found, 1)]
        directories = [{**name, "directory": str(place)} for name, place in zip(named, found, strict=True)]
        return with_data(request, "a container", step, directories)
