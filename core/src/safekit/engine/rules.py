"""Failover rules as trees, and their evaluation. `safekit.config.rules` reads them from text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

Values = Mapping[str, str]
NO_VALUES: Final[Values] = MappingProxyType({})
UNKNOWN: Final = "unknown"
"""The value of what was never reported, and of everything on a node that is not heard."""
ALL: Final = "*"
ANY: Final = "?"


@dataclass(frozen=True, slots=True)
class Test:
    """`[local.|remote.]class.ident == value`. `*` as ident: every one; `?`: any one."""

    side: str
    resource_class: str
    ident: str
    value: str
    negated: bool = False

    @property
    def resource(self) -> str:
        return f"{self.resource_class}.{self.ident}"

    @property
    def reference(self) -> str:
        """As rules write it."""
        return self.resource if self.side == "local" else f"{self.side}.{self.resource}"

    def is_true_of(self, value: str) -> bool:
        return (value == self.value) != self.negated

    def looks_at(self, resource: str) -> bool:
        if self.ident in {ALL, ANY}:
            return resource.startswith(f"{self.resource_class}.")
        return resource == self.resource


# The fields of no two kinds of expression are the same: the journal's JSON tells them apart by that.


@dataclass(frozen=True, slots=True)
class Not:
    term: Expression


@dataclass(frozen=True, slots=True)
class All:
    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Any:
    choices: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """`2 of (tcp.*, ping.gw) == down`: at least so many of all that the tests look at. They differ in the resource."""

    least: int
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A condition that has a name, where it is used."""

    name: str
    condition: Expression


Expression = Test | Not | All | Any | Count | Named


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
    message: str = ""
    """For the operator, when it acts."""


STRENGTH: Final = ("restart", "swap", "stopstart", "wait", "stop")
"""Of several rules that hold the strongest acts."""


def strongest(rules: Iterable[Rule]) -> Rule | None:
    """Of equals the first."""
    return max(rules, key=lambda rule: STRENGTH.index(rule.action), default=None)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """What it is made of, one level down."""
    match expression:
        case Test():
            return ()
        case Not(term) | Named(condition=term):
            return (term,)
        case All(terms) | Any(terms) | Count(tests=terms):
            return terms


def comparisons(expression: Expression, *, inside_names: bool = True) -> Iterator[Test]:
    """Every comparison, left to right; with those of named conditions."""
    if isinstance(expression, Test):
        yield expression
    elif inside_names or not isinstance(expression, Named):
        for part in parts(expression):
            yield from comparisons(part, inside_names=inside_names)


def holds(expression: Expression, local: Values, remote: Values = NO_VALUES) -> bool:
    """Whether it is true of these values of this node and of the other one."""
    match expression:
        case Test():
            results = [expression.is_true_of(value) for value in observed(expression, local, remote).values()]
            return all(results) if expression.ident == ALL else any(results)
        case Not(term):
            return not holds(term, local, remote)
        case All(terms):
            return all(holds(term, local, remote) for term in terms)
        case Any(choices):
            return any(holds(choice, local, remote) for choice in choices)
        case Count(least):
            return len(counted(expression, local, remote)) >= least
        case Named(condition=condition):
            return holds(condition, local, remote)


def observed(test: Test, local: Values, remote: Values = NO_VALUES) -> dict[str, str]:
    """What it looks at, as rules write it, with the values; never empty."""
    values, prefix = (remote, "remote.") if test.side == "remote" else (local, "")
    if test.ident not in {ALL, ANY}:
        return {test.reference: values.get(test.resource, UNKNOWN)}
    found = {prefix + name: value for name, value in values.items() if test.looks_at(name)}
    return found or {test.reference: UNKNOWN}


def counted(count: Count, local: Values, remote: Values = NO_VALUES) -> dict[str, str]:
    """Those of which the comparison is true; one that is named twice counts once."""
    return {
        name: value
        for test in count.tests
        for name, value in observed(test, local, remote).items()
        if test.is_true_of(value)
    }


def evidence(expression: Expression, local: Values, remote: Values = NO_VALUES) -> dict[str, str]:
    """The values that make it true, or false: of a part that changes nothing there are none."""
    return _evidence(expression, local, remote, holds(expression, local, remote))


def _evidence(expression: Expression, local: Values, remote: Values, truth: bool) -> dict[str, str]:
    match expression:
        case Test():
            seen = observed(expression, local, remote)
            return {name: value for name, value in seen.items() if expression.is_true_of(value) == truth}
        case Not(term):
            return _evidence(term, local, remote, not truth)
        case Count(_, members):
            true = counted(expression, local, remote)
            seen = {name: value for test in members for name, value in observed(test, local, remote).items()}
            return {name: value for name, value in seen.items() if (name in true) == truth}
        case _:
            agreeing = [part for part in parts(expression) if holds(part, local, remote) == truth]
            return {n: v for part in agreeing for n, v in _evidence(part, local, remote, truth).items()}


def told(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The resources of this node that rules of the other one look at: `class.ident`, or `class.*`."""
    remote = [test for rule in rules for test in comparisons(rule.condition) if test.side == "remote"]
    return tuple(sorted({f"{t.resource_class}.*" if t.ident in {ALL, ANY} else t.resource for t in remote}))
