"""What the rules of a module are tried with: values that are given, those that are there, and what is most likely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from safekit.config.compiled import CompiledModule
from safekit.config.problems import did_you_mean
from safekit.config.rules import VALUES
from safekit.engine.reports import ModuleState
from safekit.engine.rules import ALL, ANY, UNKNOWN, comparisons
from safekit_sdk import ConfigError, Scope

INIT: Final = "init"
_RUNNING: Final = (ModuleState.ALONE, ModuleState.PRIM, ModuleState.SECOND, ModuleState.UP)
_ON: Final[dict[Scope, tuple[ModuleState, ...]]] = {
    "pre": (*_RUNNING, ModuleState.WAIT),
    "both": _RUNNING,
    "prim": (ModuleState.ALONE, ModuleState.PRIM, ModuleState.UP),
    "second": (ModuleState.SECOND,),
    "sec": (ModuleState.SECOND, ModuleState.ALONE),
}
"""In which states what has a scope looks at something."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """The value of one resource, and where it comes from."""

    value: str
    source: str
    """`given`, `now` (as it is on the node), or `supposed`."""


def parse_settings(texts: Iterable[str], module: CompiledModule) -> dict[str, str]:
    """`http.home=down` and `remote.ping.gw=up`; ConfigError with the nearest name that rules look at."""
    given: dict[str, str] = {}
    known = [*watched(module), *(f"remote.{name}" for name in _looked_at(module, "remote"))]
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.removeprefix("local.")
        where = f"--set {text}"
        if not equals:
            raise ConfigError("a value is missing", where=where, hint=f"--set {name}=down")
        if value not in VALUES:
            raise ConfigError(f"unknown value '{value}'", where=where, hint=did_you_mean(value, VALUES, "values"))
        if name not in known and not _is_matched(name, module):
            raise ConfigError(f"there is no '{name}' here", where=where, hint=did_you_mean(name, known, "there are"))
        given[name] = value
    return given


def watched(module: CompiledModule) -> dict[str, tuple[Scope, ...]]:
    """The resources that have a value, with the scopes in which they say one; without scopes what is set by others."""
    found: dict[str, tuple[Scope, ...]] = {checker.resource: (checker.scope,) for checker in module.checkers}
    found |= {step.resource: step.scopes for step in module.steps if step.watches}
    return found | {name: () for name in _looked_at(module, "local") if name not in found}


def suppose(
    module: CompiledModule, given: Mapping[str, str], present: Mapping[str, str], remote: Mapping[str, str]
) -> dict[str, Supposed]:
    """Each value that rules may look at, of this node and (`remote.`) of the other one. What checks something and is
    not known is supposed to be up."""
    found = {f"remote.{name}": Supposed(UNKNOWN, "supposed") for name in _looked_at(module, "remote")}
    found |= {n: Supposed("up" if scopes else UNKNOWN, "supposed") for n, scopes in watched(module).items()}
    found |= {name: Supposed(value, "now") for name, value in present.items() if value != INIT}
    found |= {f"remote.{name}": Supposed(value, "now") for name, value in remote.items()}
    return found | {name: Supposed(value, "given") for name, value in given.items()}


def local_in(state: ModuleState, module: CompiledModule, supposed: Mapping[str, Supposed]) -> dict[str, str]:
    """The values of this node in a state: what does not look there says init."""
    scopes = watched(module)
    return {
        name: one.value if is_on(scopes.get(name, ()), state) else INIT
        for name, one in supposed.items()
        if not name.startswith("remote.")
    }


def remote_of(supposed: Mapping[str, Supposed]) -> dict[str, str]:
    return {name.removeprefix("remote."): one.value for name, one in supposed.items() if name.startswith("remote.")}


def is_on(scopes: tuple[Scope, ...], state: ModuleState) -> bool:
    return not scopes or any(state in _ON[scope] for scope in scopes)


def _looked_at(module: CompiledModule, side: str) -> list[str]:
    """The names that rules write out."""
    tests = [test for rule in module.rules for test in comparisons(rule.to_rule().condition)]
    return sorted({test.resource for test in tests if test.side == side and test.ident not in {ALL, ANY}})


def _is_matched(name: str, module: CompiledModule) -> bool:
    """A rule looks at it by `*` or `?`; for this node only of a class that anybody may set."""
    side, plain = ("remote", name.removeprefix("remote.")) if name.startswith("remote.") else ("local", name)
    checkers = {checker.plugin for checker in module.checkers}
    tests = [test for rule in module.rules for test in comparisons(rule.to_rule().condition) if test.side == side]
    return any(test.looks_at(plain) and (side == "remote" or test.resource_class not in checkers) for test in tests)
