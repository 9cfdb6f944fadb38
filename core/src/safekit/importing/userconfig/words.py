"""Values of SafeKit's files: macros `%NAME%`, spans of time and sizes with units, switches."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from safekit.config.errors import Findings
from safekit.importing.account import Account
from safekit.importing.draft import seconds
from safekit.importing.source import Source
from safekit.importing.xml import Attribute, Element
from safekit_sdk import ConfigError

_MACRO: Final = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)%")
_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(us|ms|s|m|h|d)?")
_SWITCHES: Final = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}
MAX_CHARACTERS: Final = 65536
MAX_ROUNDS: Final = 16
"""How deep macros may lie in each other."""


@dataclass
class Words:
    """Reads attributes with their macros replaced; what cannot be read is lost, and None."""

    source: Source
    account: Account
    macros: dict[str, Attribute] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    used: dict[str, str] = field(default_factory=dict)
    """Macros that files of ours need, with their values."""

    def define(self, root: Element) -> None:
        """Enter every `<macro>`. ConfigError for a second one of a name, and for one that nobody defines."""
        findings = Findings()
        for element in root.walk():
            if element.tag == "macro" and {"name", "value"} <= element.attributes.keys():
                name = element.get("name")
                if name in self.macros:
                    where = self.source.where(element.attributes["name"].place)
                    findings.add(ConfigError(f"the macro '{name}' is defined twice", where=where, hint="remove one"))
                self.macros.setdefault(name, element.attributes["value"])
        for element in root.walk():
            for attribute in element.attributes.values():
                self._check(attribute, findings)
        findings.raise_any()

    def _check(self, attribute: Attribute, findings: Findings) -> None:
        for found in _MACRO.finditer(attribute.value):
            if found[1] not in self.macros and found[1] not in self.environment:
                where = self.source.where(attribute.place)
                hint = f'<macro name="{found[1]}" value=…/>, or in the environment: {found[1]}=… safekit import …'
                findings.add(ConfigError(f"the macro '{found[1]}' is not defined", where=where, hint=hint))

    def text(self, attribute: Attribute | None) -> str:
        """The value; ConfigError where macros lie in themselves, or make a text without end."""
        if attribute is None:
            return ""
        value = attribute.value
        for _ in range(MAX_ROUNDS):
            replaced = _MACRO.sub(lambda found: self._value(found[1]), value)
            if len(replaced) > MAX_CHARACTERS or replaced == value:
                break
            value = replaced
        if len(value) > MAX_CHARACTERS or (_MACRO.search(value) and replaced != value):
            raise ConfigError("these macros have no end", where=self.source.where(attribute.place))
        return value.strip()

    def _value(self, name: str) -> str:
        found = self.macros.get(name)
        return self.environment.get(name, "") if found is None else found.value

    def written(self, attribute: Attribute) -> str:
        """As a file of ours has it: macros stay, by their names; other percent signs are doubled."""
        names = _MACRO.findall(attribute.value)
        if not names:
            return attribute.value.strip().replace("%", "%%")
        if any(name not in self.macros or "%" in self.macros[name].value for name in names):
            return self.text(attribute).replace("%", "%%")
        self.used.update({name: self.text(self.macros[name]) for name in names})
        parts = _MACRO.split(attribute.value.strip())
        return "".join(f"%{part}%" if number % 2 else part.replace("%", "%%") for number, part in enumerate(parts))

    def span_s(self, attribute: Attribute | None, unit: str) -> float | None:
        """`unit`: of a number without one."""
        if attribute is None:
            return None
        found = _SPAN.fullmatch(self.text(attribute))
        value_s = float(found[1]) * _UNITS_S[found[2] or unit] if found else -1.0
        if not 0 <= value_s < 1e9:
            self.account.lost(attribute, "this is no span of time", "write it as 10s")
            return None
        return value_s

    def span(self, attribute: Attribute | None, unit: str) -> str | None:
        value_s = self.span_s(attribute, unit)
        return None if value_s is None else seconds(value_s)

    def number(self, attribute: Attribute | None, low: int, high: int) -> int | None:
        if attribute is None:
            return None
        text = self.text(attribute)
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            self.account.lost(attribute, f"this is no number from {low} to {high}")
            return None
        return int(text)

    def is_on(self, attribute: Attribute | None, default: bool) -> bool:
        if attribute is None:
            return default
        return _SWITCHES.get(self.text(attribute).lower(), default)
