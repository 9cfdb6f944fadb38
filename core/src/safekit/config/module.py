"""What a module file may say, apart from the plugins' own settings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from safekit.engine.spec import MAX_WEIGHT
from safekit_sdk import Duration, ModuleKind

NodeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Variable = str | int | float | bool
MAX_STEPS = 200
MAX_RULES = 200
MAX_CONDITIONS = 100
ConditionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
RuleLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


class Heartbeat(_Part):
    interval: Duration = Duration(0.1)
    """Time between two heartbeats. The shortest of any module counts for the node."""
    lost_after: Duration = Duration(1)
    """Silence on every network after which a node counts as lost; at least three intervals."""

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if not 0.01 <= self.interval.seconds <= 60:
            raise ValueError(f"the interval must be from 10ms to 60s, not {self.interval}")
        least = Duration(round(3 * self.interval.seconds, 6))
        if self.lost_after < least:
            raise ValueError(f"lost_after must be at least three intervals ({least}), not {self.lost_after}")
        return self


class RuleEntry(_Part):
    """A rule with a sentence for the operator."""

    rule: str
    """`label: if (class.name == down) then restart;`"""
    message: str = Field(default="", max_length=500)
    """What the status and `safekit why` say when the rule acts."""


class Dependency(_Part):
    """Another module of the cluster that has to be up."""

    ANYWHERE: ClassVar = "any"
    module: ModuleName
    """Its name."""
    on: NodeName = ANYWHERE
    """Where it has to be up: on `this` node, on `any` node, or on the one with this name."""


def _form(given: Any) -> str:
    return "name" if isinstance(given, str) else "mapping"


class ModuleFile(_Part):
    """A module: what is started in which order, what is checked, and what follows."""

    kind: ModuleKind
    """mirror: one of two nodes runs it; farm: all nodes share the load; light: each node for itself."""
    description: str = Field(default="", max_length=500)
    """What it is, for people."""
    nodes: tuple[NodeName, ...] | None = Field(default=None, min_length=1, max_length=100)
    """The nodes that have it, in the order of preference; every node of the cluster when absent."""
    include: list[Annotated[str, Field(max_length=256)]] = Field(default=[], max_length=20)
    """Other files of the module's directory that are parts of this one. Their lists come before those here; of two
    values for one key the one here holds."""
    variables: dict[VariableName, Variable] = Field(default={}, max_length=200)
    """Names for `%NAME%` in this file, and environment variables for scripts. `%env:NAME%` is a variable of the
    environment of safekitd."""
    node_variables: dict[NodeName, dict[VariableName, Variable]] = Field(default={}, max_length=100)
    """Variables that are others on one node: `{node2: {CARD: ens3}}`. They, and those of the environment, can be used
    in the pipeline and the checkers only: all else is the same on all nodes."""
    heartbeat: Heartbeat = Heartbeat()
    """How soon a lost node is noticed."""
    isolation: Literal["safety", "availability"] = "safety"
    """A mirror that has lost its peer without a witness: safety waits, availability takes over although both may
    then run."""
    witness: dict[str, Any] | None = Field(default=None, min_length=1, max_length=1)
    """A third party that says which node of a mirror may run when they do not hear each other, as `plugin: {settings}`;
    then `isolation` is not asked."""
    default_primary: NodeName | None = None
    """A mirror moves back to this node once it is ready again; absent: it stays where it is."""
    weights: dict[NodeName, Annotated[int, Field(ge=0, le=MAX_WEIGHT)]] = Field(default={}, max_length=100)
    """A farm's nodes that are to have another part of the clients than the others; each has 100 when absent, 0 is none.
    Weights of different size make an order of preference: `{node1: 1000000, node2: 1000, node3: 1}`."""
    boot: Literal["auto", "on", "off"] = "auto"
    """Started with the machine: as it was before, always, never."""
    max_loops: int = Field(default=3, ge=1, le=1000)
    """Automatic restarts within `loop_interval`; one more stops the module."""
    loop_interval: Duration = Duration(86400)
    """0 counts none."""
    handle_time: Duration = Duration(0)
    """What follows from the rules must have been the same action for so long before it is done, as in SafeKit, where
    it is 15s; 0: at once. A single rule waits by `for 5s`."""
    depends_on: list[
        Annotated[Annotated[ModuleName, Tag("name")] | Annotated[Dependency, Tag("mapping")], Discriminator(_form)]
    ] = Field(default=[], max_length=20)
    """Modules that have to be up before this one starts and while it runs: `[db]`, or `[{module: db, on: this}]`.
    Until then, and when one is no longer up, this one waits. Short for a checker `module` with `when: pre` and
    `action: wait`."""
    pipeline: list[Any] = Field(default=[], max_length=MAX_STEPS)
    """Resources and the application, in start order, each as `plugin: {settings}`; stopped in reverse."""
    checkers: list[Any] = Field(default=[], max_length=MAX_STEPS)
    """What is observed, each as `plugin: {settings}`."""
    conditions: dict[ConditionName, str] = Field(default={}, max_length=MAX_CONDITIONS)
    """Names for parts of rules: `{cut_off: "2 of (ping.*) == down"}`; one may use those above it."""
    rules: list[str | RuleEntry] = Field(default=[], max_length=MAX_RULES)
    """`label: if (class.name == down) then restart;` beside those that checkers bring by their `action`, and those of
    apps. One with the label of another takes its place."""
    disabled_rules: list[RuleLabel] = Field(default=[], max_length=MAX_RULES)
    """Labels of rules that do nothing, whoever brought them: `safekit rules list` names all."""
