"""Plugin instances of one module, made from its compiled configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safekit.config.compiled import CompiledChecker, CompiledModule, CompiledStep
from safekit.plugins import RAISED, discovery, load
from safekit_sdk import App, Checker, Context, PluginError, Resource, Scope, Witness
from safekit_sdk.elsewhere import module_states

GROUPS = {
    "resource": discovery.RESOURCES,
    "app": discovery.APPS,
    "checker": discovery.CHECKERS,
    "witness": discovery.WITNESSES,
}


def place_of(module: str, plugin: str, ident: str) -> Path:
    """Where an instance lives below the node's directories."""
    return Path("modules", module, f"{plugin}.{ident}".replace(":", "_"))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the daemon tells a host about the node."""

    node: str
    var_dir: Path
    run_dir: Path
    cluster: str = ""
    """Its identifier, unlike that of any other."""
    cgroup: Path | None = None
    control_socket: Path = Path()
    """Of safekitd, for what plugins may ask it."""


@dataclass(eq=False, slots=True)
class Step:
    """One resource in one scope. `started` is what this host knows, not what the machine says."""

    name: str
    scope: Scope
    resource: Resource[Any]
    started: bool = False
    promoted: bool = False

    def becomes(self, other: Step) -> bool:
        """Whether the other is the very same thing, or differs only in what may change while it is started."""
        mine, its = self.resource, other.resource
        alike = (self.name, self.scope, type(mine)) == (other.name, other.scope, type(its))
        return alike and mine.context.settings == its.context.settings and _changed(mine, its) <= its.live_settings()


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    scope: Scope
    checker: Checker[Any]

    def same_as(self, other: Check) -> bool:
        mine, its = self.checker, other.checker
        alike = (self.name, self.scope, type(mine)) == (other.name, other.scope, type(its))
        return alike and mine.config == its.config and mine.context.settings == its.context.settings


def _changed(mine: Resource[Any], its: Resource[Any]) -> set[str]:
    """The settings that differ."""
    return {key for key in type(mine.config).model_fields if getattr(mine.config, key) != getattr(its.config, key)}


class Maker:
    """Builds instances; PluginError names the plugin that could not be imported or made."""

    def __init__(
        self,
        module: CompiledModule,
        around: Surroundings,
        set_value: Callable[[str, str], None],
        log: Callable[[str], None],
    ) -> None:
        self._module = module
        self._around = around
        self._set_value = set_value
        self._log = log

    def steps(self) -> list[Step]:
        return [
            Step(step.resource, scope, self._resource(step, scope))
            for step in self._module.steps
            for scope in step.scopes
        ]

    def checks(self) -> list[Check]:
        return [Check(entry.resource, entry.scope, self._checker(entry)) for entry in self._module.checkers]

    def witness(self) -> Witness[Any] | None:
        entry = self._module.witness
        if entry is None:
            return None
        cls = load(GROUPS["witness"], entry.plugin)
        made: Witness[Any] = self._make(cls, entry.plugin, entry.ident, "both", entry.config)
        return made

    def _resource(self, step: CompiledStep, scope: Scope) -> Resource[Any]:
        cls = load(GROUPS[step.group], step.plugin)
        if not issubclass(cls, (Resource, App)):
            raise PluginError(f"plugin '{step.plugin}' is not a resource")
        made: Resource[Any] = self._make(cls, step.plugin, step.ident, scope, step.config)
        return made

    def _checker(self, entry: CompiledChecker) -> Checker[Any]:
        cls = load(GROUPS["checker"], entry.plugin)
        made: Checker[Any] = self._make(cls, entry.plugin, entry.ident, entry.scope, entry.config)
        return made

    def _make(self, cls: Any, plugin: str, ident: str, scope: Scope, config: dict[str, Any]) -> Any:
        context = self._context(plugin, ident, scope)
        try:
            return cls(cls.config_model.model_validate(config), context)
        except RAISED as error:  # a plugin's door: whatever it raises is the plugin's
            raise PluginError(f"plugin '{plugin}' ({ident}) cannot be made: {error}") from error

    def _context(self, plugin: str, ident: str, scope: Scope) -> Context:
        place = place_of(self._module.name, plugin, ident)
        state_dir, run_dir = self._around.var_dir / place, self._around.run_dir / place
        for directory in (state_dir, run_dir):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Context(
            module=self._module.name,
            kind=self._module.kind,
            node=self._around.node,
            name=ident,
            scope=scope,
            state_dir=state_dir,
            run_dir=run_dir,
            cgroup=self._around.cgroup,
            settings=dict(self._module.variables),
            set_value=self._set_value,
            log=self._log,
            module_states=partial(module_states, self._around.control_socket),
        )
