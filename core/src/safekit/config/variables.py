"""`%NAME%` in the strings of a module file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from safekit.config.errors import ConfigErrors
from safekit.config.problems import did_you_mean
from safekit.config.text import Document, Path
from safekit_sdk import ConfigError

_MACRO: Final = re.compile(r"%%|%([A-Za-z_][A-Za-z0-9_]*)%")


def substitute(document: Document) -> Document:
    """The document with each `%NAME%` of a string replaced by the variable's value, and `%%` by `%`. Those of
    `variables:` itself are taken as they are. ConfigErrors with every unknown name."""
    known = _variables(document.value)
    errors: list[ConfigError] = []

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {
                key: inner if path == () and key == "variables" else walk(inner, (*path, key))
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [walk(inner, (*path, index)) for index, inner in enumerate(value)]
        return _MACRO.sub(lambda found: expand(found, path), value) if isinstance(value, str) else value

    def expand(found: re.Match[str], path: Path) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in known:
            hint = did_you_mean(name, known, "variables")
            errors.append(
                ConfigError(
                    f"there is no variable '{name}'",
                    where=document.inside(path, found.start()),
                    hint=f"{hint or 'define it under variables:'} (a percent sign itself is written %%)",
                )
            )
            return ""
        return known[name]

    value = walk(document.value, ())
    if errors:
        raise ConfigErrors(errors)
    return replace(document, value=value)


def as_text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variables(value: Any) -> dict[str, str]:
    given = value.get("variables") if isinstance(value, dict) else None
    if not isinstance(given, dict):
        return {}
    return {name: as_text(each) for name, each in given.items() if isinstance(each, (str, int, float, bool))}
