"""What an apply would change and what that interrupts: the difference of two compiled configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, computed_field

from safekit.config.compiled import (
    CompiledChecker,
    CompiledEntry,
    CompiledModule,
    CompiledRule,
    CompiledStep,
)
from safekit.config.timing import bounds, latencies, order


class Impact(StrEnum):
    """What a change interrupts, from nothing to everything."""

    NONE = "nothing"
    """Only words for people."""
    LIVE = "live"
    """Takes effect while the module runs; clients notice nothing."""
    STEP = "step"
    """One step is stopped and started; those around it go on."""
    MODULE = "module"
    """The whole module is stopped and started."""


_ORDER: Final = tuple(Impact)
E = TypeVar("E", bound=CompiledEntry)
T = TypeVar("T")
HASTY_S: Final = 0.5
"""A machine under load may be silent for this long without having failed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Part):
    what: str
    """`step vip.10.0.0.9`, `rule web_down`, `heartbeat`."""
    action: Literal["add", "remove", "change", "move"]
    impact: Impact
    details: tuple[str, ...] = ()
    """`address: 10.0.0.9/24 -> 10.0.0.10/24`."""


class Plan(_Part):
    module: str
    new: bool
    """Nothing of it is in force yet."""
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the settings mean, as the plugins say it."""
    steps: tuple[str, ...] = ()
    """Of a new module: in their order, with what users notice of each."""
    latencies: tuple[str, ...] = ()
    """How long after a fault each checker tells it and each rule acts, at the most; and the worst case of all."""
    bounds: tuple[str, ...] = ()
    """How long things may take, in words."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def changed(self) -> bool:
        return self.new or bool(self.changes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def impact(self) -> Impact:
        """The worst of all changes, for a module that runs."""
        return max((change.impact for change in self.changes), key=_ORDER.index, default=Impact.NONE)


def diff(before: CompiledModule | None, after: CompiledModule, *, networks: int | None = None) -> Plan:
    """From what is in force to what would be. `networks`: how many the cluster has, where that is known."""
    changes = () if before is None else tuple(_changes(before, after))
    warned = (*after.warnings, *_warnings(after, networks))
    return Plan(
        module=after.name,
        new=before is None,
        changes=changes,
        warnings=warned,
        remarks=after.remarks,
        steps=tuple(order(after)) if before is None else (),
        latencies=tuple(latencies(after)),
        bounds=tuple(bounds(after)),
    )


def _warnings(module: CompiledModule, networks: int | None) -> Iterator[str]:
    """What is allowed and may surprise, with what to do."""
    if module.kind == "mirror" and len(module.nodes) == 2:
        if module.witness is None:
            yield from _isolation_warnings(module)
        elif not module.witness.exclusive and not module.fences:
            yield (
                f"the witness '{module.witness.plugin}' sees that a node is isolated; it does not rule out that both "
                "run: when only the network between the nodes fails, both reach it. A lease witness rules that out"
            )
    if module.kind == "mirror" and len(module.nodes) == 1:
        yield f"it has one node, {module.nodes[0]}: nothing can take over"
    if networks == 1 and len(module.nodes) > 1:
        yield "all heartbeats take one network: its failure looks like the failure of a node; add a second network"
    if module.heartbeat.lost_after.seconds < HASTY_S:
        yield (
            f"heartbeat.lost_after is {module.heartbeat.lost_after}: a node that is only busy may count as lost; "
            "1s is safe on most machines"
        )


def _isolation_warnings(module: CompiledModule) -> Iterator[str]:
    if not module.fences:
        yield _ISOLATION[module.isolation]
    elif module.isolation == "availability":
        yield (
            "isolation is 'availability' and there is no witness: a lost node is fenced before it is taken over from, "
            "but a node that starts and does not hear the other may run the module at once, and fences nobody. "
            "`isolation: safety` rules that out"
        )


_ISOLATION: Final = {
    "safety": (
        "isolation is 'safety' and there is no witness: after a crash of the primary nothing takes over by itself, "
        "because a crash and a cut network look the same. Add a witness, or choose `isolation: availability` if two "
        "running copies harm less than none"
    ),
    "availability": (
        "isolation is 'availability' and there is no witness: when only the network between the nodes fails, both "
        "run the module. Add a witness to rule that out"
    ),
}


def lines(plan: Plan) -> list[str]:
    """The plan for a terminal or a page, without colours."""
    if plan.new:
        text = [f"module '{plan.module}' is new; it is added and not started"]
    elif plan.changes:
        text = [f"module '{plan.module}': {_IMPACTS[plan.impact]}"]
    else:
        text = [f"module '{plan.module}': nothing changes"]
    for change in plan.changes:
        text.append(f"  {_SIGNS[change.action]} {change.what} ({_EFFECTS[change.impact]})")
        text += [f"      {detail}" for detail in change.details]
    text += [f"  {told}" for told in (*plan.steps, *plan.remarks, *plan.latencies, *plan.bounds)]
    return [*text, *(f"  warning: {each}" for each in plan.warnings)]


_SIGNS: Final = {"add": "+", "remove": "-", "change": "~", "move": "~"}
_EFFECTS: Final = {
    Impact.NONE: "no effect on what runs",
    Impact.LIVE: "while it runs",
    Impact.STEP: "this step is interrupted",
    Impact.MODULE: "the module is stopped and started",
}
_IMPACTS: Final = {
    Impact.NONE: "changes only what people read",
    Impact.LIVE: "changes while it runs; nothing is interrupted",
    Impact.STEP: "changes while it runs; only the steps named are interrupted",
    Impact.MODULE: "is interrupted: it is stopped on all its nodes, and started again",
}


def _changes(before: CompiledModule, after: CompiledModule) -> Iterator[Change]:
    yield from _scalars(before, after)
    yield from _nodes(before, after)
    yield from _steps(before.steps, after.steps, before.variables != after.variables)
    yield from _checkers(before.checkers, after.checkers)
    yield from _rules(before.rules, after.rules)


def _scalars(before: CompiledModule, after: CompiledModule) -> Iterator[Change]:
    impacts = {"kind": Impact.MODULE, "witness": Impact.MODULE, "description": Impact.NONE}
    old, new = ({**m.model_dump(mode="json"), "witness": m.witness_in_force} for m in (before, after))
    keys = ("kind", "description", "isolation", "witness", "default_primary", "boot", "max_loops", "loop_interval")
    for key in (*keys, "handle_time", "conditions", "heartbeat", "variables"):
        if details := tuple(_differences(old[key], new[key])):
            yield Change(what=key, action="change", impact=impacts.get(key, Impact.LIVE), details=details)


def _nodes(before: CompiledModule, after: CompiledModule) -> Iterator[Change]:
    together = Impact.MODULE if after.kind == "mirror" else Impact.LIVE
    for node in after.nodes:
        if node not in before.nodes:
            yield Change(what=f"node {node}", action="add", impact=together)
    for node in before.nodes:
        if node not in after.nodes:
            yield Change(what=f"node {node}", action="remove", impact=together)
    if before.nodes != after.nodes and set(before.nodes) == set(after.nodes):
        order = f"{', '.join(before.nodes)} -> {', '.join(after.nodes)}"
        yield Change(what="order of nodes", action="move", impact=together, details=(order,))


def _steps(before: tuple[CompiledStep, ...], after: tuple[CompiledStep, ...], every_one: bool) -> Iterator[Change]:
    old, new = _by_name(before), _by_name(after)
    yield from _each("step", old, new, partial(_step_impact, every_one), partial(_step_details, every_one))
    stayed = [name for name in old if name in new]
    if stayed != [name for name in new if name in old]:
        yield Change(what="order of steps", action="move", impact=Impact.LIVE, details=(" -> ".join(new),))


def _step_impact(every_one: bool, old: CompiledStep | None, new: CompiledStep | None) -> Impact:
    """As the host does it: whether all that differs may change while the step is started. Of one that comes or goes
    only itself is concerned, and what stands on it."""
    stopped = Impact.MODULE if old is not None and old.bears else Impact.STEP
    if old is None or new is None:
        return stopped
    alike = (old.group, old.scopes) == (new.group, new.scopes)
    keys = old.effective.keys() | new.effective.keys()
    changed = {key for key in keys if old.effective.get(key) != new.effective.get(key)}
    if alike and not every_one and changed <= set(new.live):
        return Impact.LIVE
    return stopped


def _step_details(every_one: bool, old: CompiledStep, new: CompiledStep) -> Iterator[str]:
    yield from _differences(old.effective, new.effective)
    if (old.group, old.scopes) != (new.group, new.scopes):
        yield f"on while {', '.join(old.scopes)} -> {', '.join(new.scopes)}"
    if every_one:
        yield "the variables changed"


def _checkers(before: Iterable[CompiledChecker], after: Iterable[CompiledChecker]) -> Iterator[Change]:
    def details(old: CompiledChecker, new: CompiledChecker) -> Iterator[str]:
        return _differences({**old.effective, "scope": old.scope}, {**new.effective, "scope": new.scope})

    return _each("checker", _by_name(before), _by_name(after), _live, details)


def _rules(before: Iterable[CompiledRule], after: Iterable[CompiledRule]) -> Iterator[Change]:
    def details(old: CompiledRule, new: CompiledRule) -> Iterator[str]:
        return _differences(
            {"rule": old.text, "message": old.message, "enabled": old.enabled},
            {"rule": new.text, "message": new.message, "enabled": new.enabled},
        )

    old, new = {rule.label: rule for rule in before}, {rule.label: rule for rule in after}
    return _each("rule", old, new, _live, details)


def _live(_old: object | None, _new: object | None) -> Impact:
    return Impact.LIVE


def _each(
    kind: str,
    old: Mapping[str, T],
    new: Mapping[str, T],
    impact: Callable[[T | None, T | None], Impact],
    details: Callable[[T, T], Iterable[str]],
) -> Iterator[Change]:
    """What is gone, new or different among things that have names."""
    for name, thing in old.items():
        if name not in new:
            yield Change(what=f"{kind} {name}", action="remove", impact=impact(thing, None))
    for name, thing in new.items():
        if name not in old:
            yield Change(what=f"{kind} {name}", action="add", impact=impact(None, thing))
        elif told := tuple(details(old[name], thing)):
            yield Change(what=f"{kind} {name}", action="change", impact=impact(old[name], thing), details=told)


def _by_name(entries: Iterable[E]) -> dict[str, E]:
    return {entry.resource: entry for entry in entries}


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """`address: 10.0.0.9/24 -> 10.0.0.10/24` for every value that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path}: {_shown(old)} -> {_shown(new)}".removeprefix(": ")


def _shown(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
