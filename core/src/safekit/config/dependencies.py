"""`depends_on:` of a module file, which is short for `module` checkers that keep the module waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from safekit.config.module import Dependency, ModuleFile
from safekit.config.problems import did_you_mean
from safekit.config.text import Document, Path
from safekit_sdk import ConfigError

KEY: Final = "depends_on"
CHECKER: Final = "module"
_IDENT_CHARS: Final = 63
_PLACES: Final = ("this", "any")


def expand(document: Document) -> Document:
    """The document with a checker for each module that is waited for; what is wrong with one stands where its
    `depends_on` stands."""
    value = document.value
    given = value.get(KEY) if isinstance(value, dict) else None
    own = (value.get("checkers") or []) if isinstance(value, dict) else []
    if not isinstance(given, list) or not isinstance(own, list):
        return document
    checkers, origins = list(own), dict(document.origins)
    for index, item in enumerate(given):
        settings = _settings(item)
        if settings is not None:
            origins["checkers", len(checkers)] = (document, (KEY, index))
            checkers.append({CHECKER: settings})
    return replace(document, value={**value, "checkers": checkers}, origins=origins)


def _settings(item: Any) -> dict[str, Any] | None:
    """None for what the model of the module file refuses."""
    given = {"module": item} if isinstance(item, str) else item
    if not isinstance(given, dict) or not isinstance(module := given.get("module"), str):
        return None
    return {"name": f"depends-{module}"[:_IDENT_CHARS], "module": module, "on": given.get("on", Dependency.ANYWHERE)}


def mistakes(file: ModuleFile, document: Document, name: str, cluster_nodes: Sequence[str]) -> Iterator[ConfigError]:
    """What only the module's name and the cluster's nodes show."""
    for index, one in enumerate(file.depends_on):
        path: Path = (KEY, index)
        module, on = (one, Dependency.ANYWHERE) if isinstance(one, str) else (one.module, one.on)
        if module == name:
            yield ConfigError(f"'{name}' would wait for itself", where=document.where(path), hint="remove it")
        if on not in (*_PLACES, *cluster_nodes):
            hint = did_you_mean(on, (*_PLACES, *cluster_nodes), "this, any, or a node")
            yield ConfigError(f"there is no node '{on}' in the cluster", where=document.where((*path, "on")), hint=hint)
