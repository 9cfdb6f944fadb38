"""Other settings than those of the record: keys of the module file, or another module file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError

from safekit.config.compiled import CompiledModule
from safekit.config.module import Heartbeat, ModuleFile
from safekit.config.problems import did_you_mean, plain
from safekit.engine import NodeState
from safekit.engine.events import Configured, Event, HeartbeatHeard
from safekit.engine.rules import Rule, told
from safekit.engine.spec import IsolationPolicy, MembershipSpec, ModuleSpec
from safekit_sdk import ConfigError, Duration

_BEAT: Final = {f"heartbeat.{key}": key for key in Heartbeat.model_fields}
_PLAIN: Final = ("isolation", "max_loops", "loop_interval", "handle_time", "disabled_rules")
"""Keys of the module file that decide over failovers and over what rules do."""


@dataclass(frozen=True, slots=True)
class Changes:
    module: str
    heartbeat: dict[str, Duration] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    """Fields of the engine's specification."""
    rules: tuple[Rule, ...] | None = None
    """Those of another module file."""
    disabled: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.heartbeat or self.spec or self.disabled) or self.rules is not None

    def of_module(self, spec: ModuleSpec) -> ModuleSpec:
        if spec.name != self.module:
            return spec
        found = spec.rules if self.rules is None else self.rules
        rules = tuple(rule for rule in found if rule.label not in self.disabled)
        return replace(spec, rules=rules, told=told(rules), **self.spec)

    def of_membership(self, spec: MembershipSpec) -> MembershipSpec:
        """As if every module asked for it: the node has one loss time. ConfigError when it does not suit the rest."""
        if not self.heartbeat:
            return spec
        recorded = {"interval": Duration(spec.heartbeat_interval_s), "lost_after": Duration(spec.lost_after_s)}
        try:
            beat = Heartbeat.model_validate({**recorded, **self.heartbeat})
        except ValidationError as error:
            raise ConfigError(plain(error), where="--set heartbeat", hint="set the other one as well") from None
        return replace(spec, heartbeat_interval_s=beat.interval.seconds, lost_after_s=beat.lost_after.seconds)

    def of_node(self, node: NodeState) -> NodeState:
        """The state that was recorded, with these settings from now on; the other nodes have them too."""
        recorded_s = node.membership.spec.lost_after_s
        spec = self.of_membership(node.membership.spec)
        peers = {
            name: replace(peer, lost_after_s=spec.lost_after_s) if peer.lost_after_s == recorded_s else peer
            for name, peer in node.membership.peers.items()
        }
        modules = {name: replace(module, spec=self.of_module(module.spec)) for name, module in node.modules.items()}
        return replace(node, membership=replace(node.membership, spec=spec, peers=peers), modules=modules)

    def of_event(self, event: Event, recorded_s: float) -> Event:
        """`recorded_s`: the loss time in force on record, which the peers have too unless they say another one."""
        if isinstance(event, Configured):
            membership = self.of_membership(event.membership)
            return Configured(membership, tuple(self.of_module(spec) for spec in event.modules))
        lost_after = self.heartbeat.get("lost_after")
        if isinstance(event, HeartbeatHeard) and lost_after and event.heartbeat.lost_after_s == recorded_s:
            return replace(event, heartbeat=replace(event.heartbeat, lost_after_s=lost_after.seconds))
        return event

    def check(self, node: NodeState) -> None:
        """ConfigError when the record, where it begins, has no such module or no such rule."""
        if self.module not in node.modules:
            known = [*node.modules, *node.recalled]
            raise ConfigError(f"the record has no module '{self.module}' there", hint=did_you_mean("", known, "it has"))
        labels = [rule.label for rule in (self.rules or node.modules[self.module].spec.rules)]
        for label in self.disabled.difference(labels):
            hint = did_you_mean(label, labels, "rules")
            raise ConfigError(f"there is no rule '{label}'", where="--set disabled_rules", hint=hint)
        self.of_membership(node.membership.spec)


def read_changes(module: str, settings: Iterable[str], source: CompiledModule | None, node: str = "") -> Changes:
    """`heartbeat.lost_after=3s`, `disabled_rules=home_down,cut_off`, over those of another module file, if any.
    ConfigError with the nearest key."""
    changes = Changes(module) if source is None else _from_file(module, source, node)
    for text in settings:
        key, equals, value = text.partition("=")
        where = f"--set {text}"
        if key not in _BEAT and key not in _PLAIN:
            known = [*_BEAT, *_PLAIN]
            raise ConfigError(f"unknown key '{key}'", where=where, hint=did_you_mean(key, known, "keys here"))
        if not equals:
            raise ConfigError("a value is missing", where=where, hint=f"--set {key}=VALUE")
        changes = _with(changes, key, value, where)
    return changes


def _from_file(module: str, source: CompiledModule, node: str) -> Changes:
    """What is about resources stays as it is recorded: how they behave is not replayed."""
    spec = source.to_spec(node)
    taken = ("handle_time_s", "isolation", "max_loops", "loop_interval_s")
    beat = {"interval": source.heartbeat.interval, "lost_after": source.heartbeat.lost_after}
    return Changes(module, beat, {name: getattr(spec, name) for name in taken}, spec.rules)


def _with(changes: Changes, key: str, text: str, where: str) -> Changes:
    if key in _BEAT:
        return replace(changes, heartbeat={**changes.heartbeat, _BEAT[key]: _checked(Duration, text, where)})
    known = ModuleFile.model_fields[key]
    given = text.split(",") if key == "disabled_rules" else text
    value = _checked(Annotated[known.annotation, known], given, where)
    if key == "disabled_rules":
        return replace(changes, disabled=changes.disabled | set(value))
    if isinstance(value, Duration):
        return replace(changes, spec={**changes.spec, f"{key}_s": value.seconds})
    return replace(changes, spec={**changes.spec, key: IsolationPolicy(value) if key == "isolation" else value})


def _checked(kind: Any, value: Any, where: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(plain(error), where=where) from None
