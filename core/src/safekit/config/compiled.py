"""A module's configuration after its plugins have checked it: plain data that the daemon and the host read. The
daemon builds the engine's words from it without importing a plugin."""

from __future__ import annotations

import json
from typing import Any as Anything
from typing import Literal

from pydantic import BaseModel, ConfigDict

from safekit.config.module import Heartbeat
from safekit.engine import rules
from safekit.engine.rules import All, Any, Count, Expression, Named, Not, Rule, Test
from safekit.engine.spec import DEFAULT_WEIGHT, BootPolicy, IsolationPolicy, Kind, ModuleSpec, WitnessSpec
from safekit_sdk import Duration, InternalError, ModuleKind, Scope

SPLIT_BRAIN = "splitbrain"
"""The class of a witness's value: up while it answers."""


class _Compiled(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompiledEntry(_Compiled):
    plugin: str
    ident: str
    config: dict[str, Anything]
    """The settings that were given, as JSON; `config_model.model_validate` gives the model back."""
    effective: dict[str, Anything]
    """Every setting with its value, defaults included."""
    origin: str = ""

    @property
    def resource(self) -> str:
        """Its name in rules and in the status: `class.ident`."""
        return f"{self.plugin}.{self.ident}"


class CompiledStep(CompiledEntry):
    """One resource or app of the pipeline."""

    group: Literal["resource", "app"]
    scopes: tuple[Scope, ...]
    restarts: bool = True
    watches: bool = False
    bears: bool = False
    live: tuple[str, ...] = ()
    """Settings that may change while it is started."""
    start_bound_s: float
    """The longest that starting all its instances takes, promotion included."""
    stop_bound_s: float
    """Likewise stopping, by force in the end."""


class CompiledChecker(CompiledEntry):
    scope: Scope
    polls: bool = True
    """It looks once per interval; otherwise it only tells what happens."""


class CompiledWitness(CompiledEntry):
    lease_s: float
    timeout_s: float
    exclusive: bool

    @property
    def resource(self) -> str:
        return f"{SPLIT_BRAIN}.{self.ident}"

    def to_spec(self) -> WitnessSpec:
        return WitnessSpec(self.resource, self.lease_s, self.timeout_s, self.exclusive)


class CompiledRule(_Compiled):
    label: str
    condition: list[Anything]
    """The tree: `["&&", …]`, `["||", …]`, `["!", term]`, `["of", 2, test, …]`, `["is", name, condition]`, or a test,
    `["local", class, ident, "==", value]`."""
    action: str
    text: str
    hold_s: float = 0.0
    message: str = ""
    origin: str = ""
    replaces: str = ""
    """The origin of the rule with the same label that it is there for."""
    enabled: bool = True

    @classmethod
    def of(cls, rule: Rule) -> CompiledRule:
        return cls(
            label=rule.label,
            condition=_to_list(rule.condition),
            action=rule.action,
            text=rule.text,
            hold_s=rule.hold_s,
            message=rule.message,
            origin=rule.origin,
        )

    def to_rule(self) -> Rule:
        condition = _from_list(self.condition)
        return Rule(self.label, condition, self.action, self.text, self.hold_s, self.origin, self.message)


class CompiledModule(_Compiled):
    format: Literal[1] = 1
    name: str
    kind: ModuleKind
    description: str = ""
    nodes: tuple[str, ...]
    heartbeat: Heartbeat
    isolation: Literal["safety", "availability"]
    witness: CompiledWitness | None = None
    default_primary: str | None
    weights: dict[str, int] = {}
    boot: Literal["auto", "on", "off"]
    max_loops: int
    loop_interval: Duration
    handle_time: Duration = Duration(0)
    variables: dict[str, str]
    steps: tuple[CompiledStep, ...]
    checkers: tuple[CompiledChecker, ...]
    conditions: dict[str, str] = {}
    """Those that have a name, as text; the rules' trees have them inside."""
    rules: tuple[CompiledRule, ...]
    has_data: bool
    """A step replicates data."""
    fences: bool = False
    """A step can cut the other node off from power."""
    packages: dict[str, str]
    """The packages that the plugins came from, with their versions."""
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the plugins say that their settings mean."""
    signature: str = ""
    """Digest of what makes a difference at run time; places in the file and package versions make none."""

    @property
    def witness_in_force(self) -> dict[str, Anything] | None:
        """Its settings, all of them."""
        return None if self.witness is None else {self.witness.plugin: self.witness.effective}

    @property
    def start_bound_s(self) -> float:
        return sum(step.start_bound_s for step in self.steps) + MARGIN_S

    @property
    def stop_bound_s(self) -> float:
        return sum(step.stop_bound_s for step in self.steps) + MARGIN_S

    def to_spec(self, node: str) -> ModuleSpec:
        """As the engine of this node needs it."""
        in_force = tuple(rule.to_rule() for rule in self.rules if rule.enabled)
        return ModuleSpec(
            name=self.name,
            kind=Kind(self.kind),
            nodes=self.nodes,
            rules=in_force,
            told=rules.told(in_force),
            handle_time_s=self.handle_time.seconds,
            isolation=IsolationPolicy(self.isolation),
            witness=self.witness.to_spec() if self.witness is not None else None,
            has_data=self.has_data,
            fences=self.fences,
            default_primary=self.default_primary,
            boot=BootPolicy(self.boot),
            max_loops=self.max_loops,
            loop_interval_s=self.loop_interval.seconds,
            start_bound_s=self.start_bound_s,
            stop_bound_s=self.stop_bound_s,
            weight=self.weights.get(node, DEFAULT_WEIGHT),
            foundation=tuple((step.resource, self._fixed(step)) for step in self.steps if step.bears),
            signature=self.signature,
        )

    def _fixed(self, step: CompiledStep) -> str:
        """What of it cannot change while it is started."""
        settings = {key: value for key, value in step.effective.items() if key not in step.live}
        return json.dumps([step.scopes, settings, self.variables], sort_keys=True, default=str)


MARGIN_S = 10.0
"""For the host's own work in a walk through the pipeline: ending checkers, messages."""


def _to_list(expression: Expression) -> list[Anything]:
    match expression:
        case Test(side, resource_class, ident, value, negated):
            return [side, resource_class, ident, "!=" if negated else "==", value]
        case Not(term):
            return ["!", _to_list(term)]
        case All(terms):
            return ["&&", *map(_to_list, terms)]
        case Any(choices):
            return ["||", *map(_to_list, choices)]
        case Count(least, tests):
            return ["of", least, *map(_to_list, tests)]
        case Named(name, condition):
            return ["is", name, _to_list(condition)]


def _from_list(tree: list[Anything]) -> Expression:
    match tree:
        case ["!", list(term)]:
            return Not(_from_list(term))
        case ["&&", *terms]:
            return All(tuple(_from_list(term) for term in terms))
        case ["||", *choices]:
            return Any(tuple(_from_list(choice) for choice in choices))
        case ["of", int(least), *tests]:
            return Count(least, tuple(_test_from(test) for test in tests))
        case ["is", str(name), list(condition)]:
            return Named(name, _from_list(condition))
    return _test_from(tree)


def _test_from(tree: list[Anything]) -> Test:
    match tree:
        case ["local" | "remote" as side, str(cls), str(ident), "==" | "!=" as operator, str(value)]:
            return Test(side, cls, ident, value, negated=operator == "!=")
    raise InternalError(f"a compiled rule has a part that is not known: {tree!r}"[:300])
