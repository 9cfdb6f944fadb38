"""The rules of a module: those that checkers and resources bring by their `action`, the apps', the file's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from safekit.config.compiled import CompiledChecker, CompiledEntry, CompiledRule, CompiledStep
from safekit.config.errors import Findings
from safekit.config.problems import did_you_mean
from safekit.config.rules import expression_text, parse, parse_condition, to_text
from safekit.engine.rules import Count, Expression, Named, Rule, Test, comparisons, parts
from safekit_sdk import ConfigError, ModuleKind, SafekitError

OPERATORS_CLASS: Final = "custom"
"""`custom.NAME` are values that an operator or a script sets: any name is good."""
Locate = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Known:
    """What rules may name."""

    kind: ModuleKind
    steps: tuple[CompiledStep, ...]
    checkers: tuple[CompiledChecker, ...]
    published: frozenset[str]
    """Values that plugins say they set: `rfs.uptodate`."""

    def names(self) -> list[str]:
        entries: tuple[CompiledEntry, ...] = (*self.checkers, *self.steps)
        own = [entry.resource for entry in entries]
        return [*own, *sorted(self.published - set(own))]

    def unanswered_in_wait(self, test: Test) -> str:
        """A resource that the test looks at and that only runs after the start, so that a rule `wait` on it would
        keep the module waiting for ever."""
        scopes: dict[str, tuple[str, ...]] = {checker.resource: (checker.scope,) for checker in self.checkers}
        scopes |= {step.resource: step.scopes for step in self.steps if step.watches}
        return next((name for name in self.matching(test) if scopes.get(name, ("pre",)) != ("pre",)), "")

    def matching(self, test: Test) -> list[str]:
        return [name for name in self.names() if test.looks_at(name)]


@dataclass(frozen=True, slots=True)
class Source:
    """A rule or a condition as it was written."""

    text: str
    origin: str
    locate: Locate
    """From a position in the text to `file:line:column`."""
    message: str = ""


def generated(resource: str, action: str, where: str) -> CompiledRule:
    """The rule behind the setting `action:`."""
    resource_class, _, ident = resource.partition(".")
    rule = Rule(f"{resource_class}_{ident}", Test("local", resource_class, ident, "down"), action)
    text = to_text(rule)
    return CompiledRule.of(Rule(rule.label, rule.condition, action, text, origin=f"{where} action: {action}"))


class Rulebook:
    """Collects rules by label; a later one of the same label replaces an earlier one of another source."""

    def __init__(self, known: Known, findings: Findings) -> None:
        self._known = known
        self._findings = findings
        self._rules: dict[str, CompiledRule] = {}
        self._conditions: dict[str, Expression] = {}
        self._unused: dict[str, str] = {}
        self._warnings: list[str] = []

    def rules(self) -> tuple[CompiledRule, ...]:
        return tuple(self._rules.values())

    def conditions(self) -> dict[str, str]:
        return {name: expression_text(condition) for name, condition in self._conditions.items()}

    @property
    def warnings(self) -> list[str]:
        unused = [f"{where}: no rule uses the condition '{name}'" for name, where in self._unused.items()]
        return [*self._warnings, *unused]

    def add_condition(self, name: str, source: Source) -> None:
        """It may use those that were added before it."""
        try:
            condition = parse_condition(source.text, source.origin, source.locate, self._conditions)
        except SafekitError as error:
            self._findings.add(error)
            return
        self._check_names(condition, source)
        self._note_used(condition)
        self._conditions[name] = condition
        self._unused[name] = source.locate(0)

    def add_generated(self, rule: CompiledRule) -> None:
        """`where` of its origin is where the action stands."""
        where = rule.origin.partition(" ")[0]
        self._check_kind(rule.to_rule(), where, "action")
        self._check_wait(rule.to_rule(), lambda _: where)
        self._put(rule, where)

    def add(self, sources: Iterable[Source], *, own: bool) -> None:
        """The rules of one app or, its own, those of the file. Only they use the file's conditions."""
        mine: set[str] = set()
        conditions = self._conditions if own else {}
        for source in sources:
            try:
                rule = parse(source.text, source.origin, source.locate, conditions)
            except SafekitError as error:
                self._findings.add(error)
                continue
            where = source.locate(0)
            if rule.label in mine:
                self._findings.add(ConfigError(f"a second rule '{rule.label}'", where=where, hint="rename one"))
            mine.add(rule.label)
            self._check(rule, source)
            self._put(CompiledRule.of(replace(rule, message=source.message)), "" if own else where)

    def disable(self, label: str, where: str) -> None:
        if label not in self._rules:
            hint = did_you_mean(label, self._rules, "rules")
            self._findings.add(ConfigError(f"there is no rule '{label}'", where=where, hint=hint))
            return
        self._rules[label] = self._rules[label].model_copy(update={"enabled": False})

    def _put(self, rule: CompiledRule, where: str) -> None:
        """`where`: of a rule that nobody wrote to replace another one; empty for one that may."""
        before = self._rules.get(rule.label)
        if before is not None:
            rule = rule.model_copy(update={"replaces": before.origin})
            if where:
                self._warnings.append(f"{where}: the rule '{rule.label}' takes the place of that of {before.origin}")
        self._rules[rule.label] = rule

    def _check(self, rule: Rule, source: Source) -> None:
        self._check_kind(rule, source.locate(max(source.text.rfind(rule.action), 0)), "rule")
        self._check_names(rule.condition, source)
        self._note_used(rule.condition)
        self._check_wait(rule, lambda test: source.locate(_position(test, source.text)))

    def _check_names(self, expression: Expression, source: Source) -> None:
        """Those of named conditions were checked where they stand."""
        for test in comparisons(expression, inside_names=False):
            self._check_name(test, source.locate(_position(test, source.text)))
        for count in _counts(expression):
            self._check_count(count, source)

    def _note_used(self, expression: Expression) -> None:
        if isinstance(expression, Named):
            self._unused.pop(expression.name, None)
            return
        for part in parts(expression):
            self._note_used(part)

    def _check_count(self, count: Count, source: Source) -> None:
        if any(test.resource_class == OPERATORS_CLASS for test in count.tests):
            return
        there = {(test.side, name) for test in count.tests for name in self._known.matching(test)}
        if there and len(there) < count.least:
            names = ", ".join(test.reference for test in count.tests)
            where = source.locate(_position(count.tests[0], source.text))
            told = ConfigError(f"{count.least} of ({names}): there are only {len(there)} of them", where=where)
            self._findings.add(told)

    def _check_name(self, test: Test, where: str) -> None:
        if test.side == "remote":
            self._check_remote(test.resource, where)
        if test.resource_class == OPERATORS_CLASS or self._known.matching(test):
            self._warn_of_silent(test, where)
            return
        hint = did_you_mean(test.resource, self._known.names(), "there are")
        self._findings.add(ConfigError(f"there is no checker or resource '{test.resource}'", where=where, hint=hint))

    def _check_remote(self, name: str, where: str) -> None:
        if self._known.kind == "mirror":
            return
        hint = "a rule of a farm or light module looks at its own node: leave out `remote.`"
        self._findings.add(ConfigError(f"'remote.{name}': only a mirror has one other node", where=where, hint=hint))

    def _warn_of_silent(self, test: Test, where: str) -> None:
        names = self._known.matching(test)
        silent = {step.resource for step in self._known.steps if not step.watches} - self._known.published
        if names and set(names) <= silent:
            self._warnings.append(f"{where}: '{names[0]}' does not watch itself: it is never '{test.value}' by itself")

    def _check_kind(self, rule: Rule, where: str, what: str) -> None:
        if rule.action == "swap" and self._known.kind != "mirror":
            hint = "restart, stopstart, stop or wait"
            self._findings.add(ConfigError(f"{what} swap: only a mirror can swap", where=where, hint=hint))

    def _check_wait(self, rule: Rule, locate: Callable[[Test], str]) -> None:
        if rule.action != "wait":
            return
        for test in comparisons(rule.condition):
            if test.side == "remote":
                continue
            if name := self._known.unanswered_in_wait(test):
                self._findings.add(
                    ConfigError(
                        f"'wait' on '{name}', which is not checked while the module waits: it would never start",
                        where=locate(test),
                        hint=f"add `when: pre` to '{name}', or take another action",
                    )
                )


def _counts(expression: Expression) -> Iterator[Count]:
    """Outside of named conditions."""
    if isinstance(expression, Count):
        yield expression
    elif not isinstance(expression, Named):
        for part in parts(expression):
            yield from _counts(part)


def _position(test: Test, text: str) -> int:
    """Where the rule's text names the resource."""
    name = re.escape(f"{test.resource_class}.{test.ident}")
    found = re.search(rf"(?<![\w.:-])((local|remote)\.)?{name}(?![\w.:-])", text)
    return found.start() if found else 0
