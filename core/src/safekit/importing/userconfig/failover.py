"""`<failover>`: the rules, which have the same grammar here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from safekit.config.rules import parse
from safekit.engine.rules import ALL, ANY, Rule, comparisons
from safekit.importing.userconfig.part import Part
from safekit.importing.xml import Element, Text
from safekit_sdk import ConfigError

_LABELS: Final = {"t": "tcp", "p": "ping", "c": "custom"}
_CALL: Final = re.compile(r"\bthen\s+([A-Za-z_]\w*)\s*(?:\(\s*\))?\s*$")
_CLASSES: Final = (("proc.", "errd."), ("splitbrain.uptodate", "splitbrain.ping"))
_PUBLISHED: Final = ("rfs.uptodate", "rfs.degraded")
_EXTENDS: Final = "with extends=no the rules of the checkers do not exist: action: none was written to each"


class Failover(Part):
    def read(self, failover: Element) -> None:
        self.account.holds(failover)
        self._settings(failover)
        for statement, lines in _statements(failover.texts):
            self._rule(statement, lines)

    def _settings(self, failover: Element) -> None:
        extends = failover.attributes.get("extends")
        if extends is not None and not self.words.is_on(extends, True):
            for entry in self.draft.content.get("checkers", ()):
                next(iter(entry.values()))["action"] = "none"
            self.account.carried(extends, f"{self.draft.name}: checkers[…].action", why=_EXTENDS)
        self.judge(failover, "extends", (), "the checkers' own rules are there as well")
        self.judge(failover, "period", (), "rules are evaluated at each change")
        handle = self.words.span(failover.attributes.get("handle_time"), "ms")
        if handle is not None:
            self.carry(failover, "handle_time", self.draft.put("handle_time", handle))

    def _rule(self, statement: str, lines: list[Text]) -> None:
        text = _CALL.sub(r"then \1", " ".join(statement.split()))
        for old, new in _CLASSES:
            text = re.sub(rf"(?<![\w.]){re.escape(old)}", new, text)
        try:
            rule = parse(self._labelled(text))
            self._check(rule)
        except ConfigError as error:
            for line in lines:
                self.account.lost(line, f"rule: {error.message}", error.hint or "write it anew under rules:")
            return
        rules = self.draft.content.setdefault("rules", [])
        rules.append(rule.text)
        for line in lines:
            self.account.carried(line, f"{self.draft.name}: rules[{len(rules) - 1}]")

    def _labelled(self, text: str) -> str:
        """The label of ours for the one that SafeKit gives to a checker's rule, so that it takes its place."""
        found = re.match(r"([tpc])_([A-Za-z0-9_.:-]+?)\s*:", text)
        if found and f"{_LABELS[found[1]]}.{found[2]}" in self.draft.named("checkers"):
            return f"{_LABELS[found[1]]}_{found[2]}{text[found.end(2) :]}"
        return text

    def _check(self, rule: Rule) -> None:
        """ConfigError for a name that nothing here has."""
        known = {*self.draft.named("checkers"), *(_PUBLISHED if self._has("pipeline", "rfs") else ())}
        known |= {f"splitbrain.{plugin}" for plugin in self.draft.content.get("witness", ())}
        classes = {name.partition(".")[0] for name in known} | {
            plugin
            for part in ("pipeline", "checkers")
            for entry in self.draft.content.get(part, ())
            for plugin in entry
        }
        for test in comparisons(rule.condition):
            here = test.resource in known or (test.ident in {ALL, ANY} and test.resource_class in classes)
            if not here and test.resource_class != "custom":
                raise ConfigError(f"nothing here is called '{test.resource}'")
            if test.side == "remote" and self.draft.content["kind"] != "mirror":
                raise ConfigError("only a mirror has one other node")

    def _has(self, part: str, plugin: str) -> bool:
        return any(plugin in entry for entry in self.draft.content.get(part, ()))


def _statements(lines: list[Text]) -> Iterator[tuple[str, list[Text]]]:
    """Each rule up to its `;`, with the lines that it takes."""
    buffer, held = "", list[Text]()
    for line in lines:
        held.append(line)
        *whole, rest = line.value.split(";")
        for part in whole:
            if (buffer + part).strip():
                yield f"{buffer} {part}", held
            buffer, held = "", [line]
        buffer += f" {rest}"
        held = held if rest.strip() else []
    if buffer.strip():
        yield buffer, held
