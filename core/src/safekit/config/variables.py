"""`%NAME%` and `%env:NAME%` in the strings of a module file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from safekit.config.errors import ConfigErrors
from safekit.config.problems import did_you_mean
from safekit.config.text import Document, Path
from safekit_sdk import ConfigError

_MACRO: Final = re.compile(r"%%|%(env:)?([A-Za-z_][A-Za-z0-9_]*)%")
_OWN: Final = frozenset({"variables", "node_variables"})
"""Keys whose values are taken as they are."""
_LOCAL: Final = frozenset({"pipeline", "checkers"})
"""Keys that may be other on each node."""
SECRET: Final = re.compile(r"(^|_)(PASS|PASSWD|PASSWORD|PASSPHRASE|SECRET|TOKEN|API_?KEY)($|_)", re.IGNORECASE)
"""Names of what is likely to be one."""


def substitute(document: Document, node: str = "", environment: Mapping[str, str] | None = None) -> Document:
    """The document as this node has it: each `%NAME%` of a string replaced by the variable's value, `%env:NAME%` by
    that of the environment, `%%` by `%`. ConfigErrors with every unknown name."""
    reader = _Reader(document, node, os.environ if environment is None else environment)
    value = reader.walk(document.value, ())
    if reader.errors:
        raise ConfigErrors(reader.errors)
    return replace(document, value=value)


class _Reader:
    def __init__(self, document: Document, node: str, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        value = document.value if isinstance(document.value, dict) else {}
        by_node = value.get("node_variables")
        by_node = by_node if isinstance(by_node, dict) else {}
        self._local = {name for given in by_node.values() for name in _plain(given)}
        own = by_node.get(node) if node else next((given for given in by_node.values()), None)
        self._known = _plain(value.get("variables")) | _plain(own)
        self.errors: list[ConfigError] = []

    def walk(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {
                key: inner if path == () and key in _OWN else self.walk(inner, (*path, key))
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.walk(inner, (*path, index)) for index, inner in enumerate(value)]
        return _MACRO.sub(lambda found: self._expand(found, path), value) if isinstance(value, str) else value

    def _expand(self, found: re.Match[str], path: Path) -> str:
        name = found[2]
        if name is None:
            return "%"
        message, hint = self._trouble(name, bool(found[1]), path)
        if message:
            where = self._document.inside(path, found.start())
            self.errors.append(ConfigError(message, where=where, hint=hint))
            return ""
        return self._environment[name] if found[1] else self._known[name]

    def _trouble(self, name: str, outside: bool, path: Path) -> tuple[str, str]:
        if (outside or name in self._local) and path[0] not in _LOCAL:
            hint = "use a variable that is the same on all nodes"
            return f"'{name}' may be another on each node, and '{path[0]}' is the same on all", hint
        if outside and SECRET.search(name):
            hint = f"give the secret as env:{name}, or file:/path"
            return f"'{name}' would be written down with the configuration", hint
        if outside and name not in self._environment:
            return f"the environment has no variable '{name}'", "set it for safekitd, or define it under variables:"
        if not outside and name not in self._known:
            hint = did_you_mean(name, self._known, "variables") or "define it under variables:"
            return f"there is no variable '{name}'", f"{hint} (a percent sign itself is written %%)"
        return "", ""


def as_text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        return {}
    return {name: as_text(each) for name, each in given.items() if isinstance(each, (str, int, float, bool))}
