"""A plugin's behaviour as one step: event and scene in, scene out, and what cannot happen is refused.

    scene = await run(MarkerResource, {"path": "/run/x"}, Start(), Scene(tmp_path))
    assert scene.status is ResourceState.STARTED
    scene = await run(MarkerResource, {"path": "/run/x"}, Stop(), scene)

Each step works on a new instance, as after a restart of the host. Checkers are in `observation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safekit_sdk.config import Config
from safekit_sdk.errors import PluginError
from safekit_sdk.plugin import ModuleKind, Plugin
from safekit_sdk.resource import Resource, ResourceState, Transition
from safekit_sdk.testing.context import RecordingContext, a_context
from safekit_sdk.units import Scope

STATES: Mapping[ModuleKind, frozenset[str]] = {
    "mirror": frozenset({"STOP", "WAIT", "ALONE", "PRIM", "SECOND"}),
    "farm": frozenset({"STOP", "WAIT", "UP"}),
    "light": frozenset({"STOP", "WAIT", "UP"}),
}
"""A module's states, in the words that `Tell` may use."""

_NO_CHANGE = Transition("", "", "")


@dataclass(frozen=True, slots=True)
class Start:
    pass


@dataclass(frozen=True, slots=True)
class Stop:
    force: bool = False


@dataclass(frozen=True, slots=True)
class Promote:
    pass


@dataclass(frozen=True, slots=True)
class Demote:
    force: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Ask for the status."""


@dataclass(frozen=True, slots=True)
class Tell:
    """A change of the module's state is told."""

    change: Transition


Event = Start | Stop | Promote | Demote | Look | Tell


@dataclass(frozen=True, slots=True)
class Scene:
    """A resource on a machine, before or after an event. The machine itself is real; `root` holds the directories
    that the resource is given."""

    root: Path
    status: ResourceState = ResourceState.STOPPED
    """As an event's scene it is brought about where the machine differs: by a start, never by a stop."""
    promoted: bool = False
    kind: ModuleKind = "mirror"
    scope: Scope | None = None
    """One of the scopes that the resource has in this kind of module; its first when absent."""
    change: Transition = _NO_CHANGE
    """The change of the module's state to which the event belongs."""
    settings: Mapping[str, str] = field(default_factory=dict)

    detail: str = ""
    """Out: what the status says besides its state."""
    error: str = ""
    """Out: why the event failed, in the words that an operator would read; empty when it did not."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Out: the resource values published during the event."""
    lines: tuple[str, ...] = ()
    """Out: what was logged during the event."""


async def run(plugin: type[Resource[Any]], config: Config | Mapping[str, Any], event: Event, state_in: Scene) -> Scene:
    """Perform the event on a new instance and return the scene after it.

    PluginError when the event cannot happen in this scene: the test asks for something that no host does."""
    model = config if isinstance(config, Config) else plugin.config_model.model_validate(config)
    scene = replace(state_in, scope=_scope(plugin, model, state_in), detail="", error="", values={}, lines=())
    _refuse_impossible(plugin, event, scene)
    await _bring_about(plugin, model, scene)
    resource, context = _make(plugin, model, scene)
    error = await _attempt(_call(resource, event), _limit_s(model, event))
    status = await _make(plugin, model, scene)[0].status()
    return replace(
        scene,
        status=status.state,
        detail=status.detail,
        promoted=_promoted_after(event, scene, status.state, error),
        error=error,
        values=dict(context.values),
        lines=tuple(context.lines),
    )


def _scope(plugin: type[Resource[Any]], config: Config, scene: Scene) -> Scope:
    scopes = plugin.scopes(config, scene.kind)
    if scene.scope is not None and scene.scope not in scopes:
        raise _impossible(f"in a {scene.kind} module it has the scopes {', '.join(scopes)}, not {scene.scope}")
    return scene.scope or scopes[0]


def _refuse_impossible(plugin: type[Resource[Any]], event: Event, scene: Scene) -> None:
    started = scene.status is ResourceState.STARTED
    if scene.promoted and not started:
        raise _impossible("it is promoted and not started")
    if isinstance(event, Promote | Demote):
        _refuse_impossible_role(plugin, event, scene, started)
    if isinstance(event, Stop) and scene.promoted and not event.force:
        raise _impossible("a host demotes before it stops gracefully")
    if isinstance(event, Tell):
        _refuse_impossible_change(event.change, scene.kind)


def _refuse_impossible_role(plugin: type[Resource[Any]], event: Promote | Demote, scene: Scene, started: bool) -> None:
    if not plugin.promotes():
        raise _impossible(f"{plugin.__name__} has no promote")
    if scene.kind != "mirror" or scene.scope != "both":
        raise _impossible(f"only a mirror's resource with the scope both has a role, not {scene.kind}/{scene.scope}")
    if isinstance(event, Promote) and not started:
        raise _impossible("a host promotes only what is started")
    if isinstance(event, Demote) and not scene.promoted and not event.force:
        raise _impossible("a host demotes gracefully only what is promoted")


def _refuse_impossible_change(change: Transition, kind: ModuleKind) -> None:
    unknown = {change.before, change.after} - STATES[kind]
    if unknown:
        raise _impossible(f"a {kind} module has no state {', '.join(sorted(unknown))}")
    if change.before == change.after:
        raise _impossible(f"a change from {change.before} to itself")


def _impossible(why: str) -> PluginError:
    return PluginError(f"this cannot happen: {why}", hint="change the scene or the event of the test")


async def _bring_about(plugin: type[Resource[Any]], config: Config, scene: Scene) -> None:
    """Make the machine what the scene says."""
    found = (await _make(plugin, config, scene)[0].status()).state
    if found is not scene.status and scene.status is ResourceState.STARTED:
        await _make(plugin, config, scene)[0].start()
        found = (await _make(plugin, config, scene)[0].status()).state
    if found is not scene.status:
        raise _impossible(f"the resource is {found.value} on this machine, and the scene says {scene.status.value}")
    if scene.promoted:
        await _make(plugin, config, scene)[0].promote()


def _make(plugin: type[Plugin[Any]], config: Config, scene: Scene) -> tuple[Any, RecordingContext]:
    given = {"kind": scene.kind, "scope": scene.scope or "prim", "settings": scene.settings}
    context = a_context(scene.root, name=plugin.ident(config), **given)
    made = plugin(config, context)
    if isinstance(made, Resource):
        made.change = scene.change
    return made, context


def _call(resource: Resource[Any], event: Event) -> Awaitable[Any]:
    match event:
        case Start():
            return resource.start()
        case Stop(force):
            return resource.stop(force)
        case Promote():
            return resource.promote()
        case Demote(force):
            return resource.demote(force)
        case Look():
            return resource.status()
        case Tell(change):
            return resource.transition(change)


def _limit_s(config: Any, event: Event) -> float:
    """As the host has it."""
    if isinstance(event, Start | Promote):
        return float(config.start_timeout.seconds)
    forced = isinstance(event, Stop | Demote) and event.force
    return float((config.force_stop_timeout if forced else config.stop_timeout).seconds)


async def _attempt(work: Awaitable[Any], limit_s: float) -> str:
    """Why it failed, or nothing."""
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        return f"it took longer than {limit_s:g} s"
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _promoted_after(event: Event, scene: Scene, status: ResourceState, error: str) -> bool:
    if status is not ResourceState.STARTED:
        return False
    if isinstance(event, Promote):
        return scene.promoted or not error
    if isinstance(event, Demote):
        return scene.promoted and bool(error)
    return scene.promoted
