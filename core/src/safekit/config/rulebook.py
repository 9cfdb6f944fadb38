"""The rules of a module: those that checkers and resources bring by their `action`, the apps', the file's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from safekit.config.compiled import CompiledChecker, CompiledEntry, CompiledRule, CompiledStep
from safekit.config.errors import Findings
from safekit.config.problems import did_you_mean
from safekit.config.rules import comparisons, parse, to_text
from safekit.engine.rules import Rule, Test
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
        if test.ident in {"*", "?"}:
            return [name for name in self.names() if name.partition(".")[0] == test.resource_class]
        return [name for name in self.names() if name == f"{test.resource_class}.{test.ident}"]


@dataclass(frozen=True, slots=True)
class Source:
    """A rule as it was written."""

    text: str
    message: str
    origin: str
    locate: Locate
    """From a position in the text to `file:line:column`."""


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
        self.warnings: list[str] = []

    def rules(self) -> tuple[CompiledRule, ...]:
        return tuple(self._rules.values())

    def add_generated(self, rule: CompiledRule) -> None:
        """`where` of its origin is where the action stands."""
        where = rule.origin.partition(" ")[0]
        self._check_kind(rule.to_rule(), where, "action")
        self._check_wait(rule.to_rule(), lambda _: where)
        self._rules[rule.label] = rule

    def add(self, sources: Iterable[Source]) -> None:
        """The rules of one app or of the file."""
        mine: set[str] = set()
        for source in sources:
            try:
                rule = parse(source.text, source.origin, source.locate)
            except SafekitError as error:
                self._findings.add(error)
                continue
            if rule.label in mine:
                where = source.locate(0)
                self._findings.add(ConfigError(f"a second rule '{rule.label}'", where=where, hint="rename one"))
            mine.add(rule.label)
            self._check(rule, source.text, source.locate)
            self._rules[rule.label] = CompiledRule.of(rule, source.message)

    def _check(self, rule: Rule, text: str, locate: Locate) -> None:
        self._check_kind(rule, locate(max(text.rfind(rule.action), 0)), "rule")
        for test in comparisons(rule.condition):
            self._check_name(test, locate(_position(test, text)))
        self._check_wait(rule, lambda test: locate(_position(test, text)))

    def _check_name(self, test: Test, where: str) -> None:
        name = f"{test.resource_class}.{test.ident}"
        if test.side == "remote":
            self._check_remote(name, where)
        if test.resource_class == OPERATORS_CLASS or self._known.matching(test):
            self._warn_of_silent(test, where)
            return
        hint = did_you_mean(name, self._known.names(), "there are")
        self._findings.add(ConfigError(f"there is no checker or resource '{name}'", where=where, hint=hint))

    def _check_remote(self, name: str, where: str) -> None:
        if self._known.kind == "mirror":
            self.warnings.append(
                f"{where}: 'remote.{name}' is always 'unknown': nodes do not tell each other their resources' values"
            )
            return
        hint = "a rule of a farm or light module looks at its own node: leave out `remote.`"
        self._findings.add(ConfigError(f"'remote.{name}': only a mirror has one other node", where=where, hint=hint))

    def _warn_of_silent(self, test: Test, where: str) -> None:
        names = self._known.matching(test)
        silent = {step.resource for step in self._known.steps if not step.watches} - self._known.published
        if names and set(names) <= silent:
            self.warnings.append(f"{where}: '{names[0]}' does not watch itself: it is never '{test.value}' by itself")

    def _check_kind(self, rule: Rule, where: str, what: str) -> None:
        if rule.action == "swap" and self._known.kind != "mirror":
            hint = "restart, stopstart, stop or wait"
            self._findings.add(ConfigError(f"{what} swap: only a mirror can swap", where=where, hint=hint))

    def _check_wait(self, rule: Rule, locate: Callable[[Test], str]) -> None:
        if rule.action != "wait":
            return
        for test in comparisons(rule.condition):
            if name := self._known.unanswered_in_wait(test):
                self._findings.add(
                    ConfigError(
                        f"'wait' on '{name}', which is not checked while the module waits: it would never start",
                        where=locate(test),
                        hint=f"add `when: pre` to '{name}', or take another action",
                    )
                )


def _position(test: Test, text: str) -> int:
    """Where the rule's text names the resource."""
    name = re.escape(f"{test.resource_class}.{test.ident}")
    found = re.search(rf"(?<![\w.:-])((local|remote)\.)?{name}(?![\w.:-])", text)
    return found.start() if found else 0
