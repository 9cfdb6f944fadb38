"""Failover rules as trees, and their evaluation. `safekit.config.rules` reads them from text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Test:
    """`[local.|remote.]class.ident == value`. `*` as ident: every one; `?`: any one."""

    side: str
    resource_class: str
    ident: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    term: Expression


@dataclass(frozen=True, slots=True)
class All:
    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Any:
    terms: tuple[Expression, ...]


Expression = Test | Not | All | Any


@dataclass(frozen=True, slots=True)
class Rule:
    label: str
    condition: Expression
    action: str
    """stop, stopstart, wait, restart or swap."""
    text: str = ""
    hold_s: float = 0.0
    """How long the condition must hold before the rule acts (`for 5s`)."""
    origin: str = ""
    """Where it stands: a file and line, or the plugin that brought it."""


STRENGTH = ("restart", "swap", "stopstart", "wait", "stop")
"""Of several rules that hold the strongest acts."""


def holds(expression: Expression, values: Mapping[str, str]) -> bool:
    """Whether it is true of these local resource values. One that was never reported is `unknown`, as is
    every remote one."""
    match expression:
        case Test():
            return _test(expression, values)
        case Not(term):
            return not holds(term, values)
        case All(terms):
            return all(holds(term, values) for term in terms)
        case Any(terms):
            return any(holds(term, values) for term in terms)


def _test(test: Test, values: Mapping[str, str]) -> bool:
    found = [] if test.side == "remote" else _named(test, values)
    results = [(value == test.value) != test.negated for value in found or ["unknown"]]
    return all(results) if test.ident == "*" else any(results)


def _named(test: Test, values: Mapping[str, str]) -> list[str]:
    if test.ident not in {"*", "?"}:
        name = f"{test.resource_class}.{test.ident}"
        return [values[name]] if name in values else []
    prefix = f"{test.resource_class}."
    return [value for name, value in values.items() if name.startswith(prefix)]


def classes(expression: Expression) -> frozenset[str]:
    """The resource classes that it looks at."""
    match expression:
        case Test(_, resource_class):
            return frozenset({resource_class})
        case Not(term):
            return classes(term)
        case All(terms) | Any(terms):
            return frozenset().union(*(classes(term) for term in terms))
