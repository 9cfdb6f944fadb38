"""Secrets that stand in a configuration in clear, and files of secrets that cannot be used on this node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from safekit.config.entries import Entry
from safekit.config.module import ModuleFile
from safekit.config.text import Document, Path
from safekit.config.variables import SECRET
from safekit_sdk import ConfigError
from safekit_sdk.units import Secret

_ABOUT: Final = re.compile(r"_(FILE|PATH|DIR|URL|NAME|ENV|TTL|LENGTH)$", re.IGNORECASE)
"""A key that ends so has where a secret is, or what it is like."""
_REFERENCE: Final = re.compile(r"env:[A-Za-z_]\w*|file:/.+|/.+")
_MAX_DEPTH: Final = 32


def in_clear(file: ModuleFile, document: Document, entries: list[Entry]) -> Iterator[str]:
    """A warning for each; the secret itself is in none."""
    given: list[tuple[Path, Mapping[str, Any]]] = [(("variables",), file.variables)]
    given += [(("node_variables", node), own) for node, own in file.node_variables.items()]
    for path, variables in given:
        for name, value in variables.items():
            if _is_secret(name, value):
                where = document.where((*path, name))
                yield f"{where}: the variable '{name}' looks like a secret, {_SEEN}; {_HOW}"
    for entry in entries:
        for key in _clear_keys(entry.given()):
            yield f"{entry.where}: '{key}' of {entry.resource} looks like a secret, {_SEEN}; {_HOW}"


_SEEN: Final = "and everyone who reads a plan, a version or a copy of this file sees it"
_HOW: Final = "give its place instead: file:/path (mode 0600), or env:NAME"


def _clear_keys(value: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """The ways to them: `options.password`."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            way = f"{key}.{name}" if key else str(name)
            if isinstance(inner, str) and _is_secret(str(name), inner):
                yield way
            else:
                yield from _clear_keys(inner, way, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _clear_keys(inner, key, depth + 1)


def _is_secret(name: str, value: object) -> bool:
    if not SECRET.search(name) or _ABOUT.search(name) or isinstance(value, bool):
        return False
    return bool(str(value)) and not _REFERENCE.fullmatch(str(value))


def unusable(entries: list[Entry]) -> Iterator[str]:
    """What is wrong on this node with the files that hold secrets."""
    for entry in entries:
        for secret in _secrets(entry.config):
            if not secret.reference.startswith("file:"):
                continue
            try:
                secret.reveal()
            except ConfigError as error:
                yield f"{entry.where}: {entry.resource}: {error.message}" + (f": {error.hint}" if error.hint else "")


def _secrets(value: Any, depth: int = 0) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, BaseModel):
        inner: Any = [getattr(value, name) for name in type(value).model_fields]
    else:
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for one in inner:
        yield from _secrets(one, depth + 1)
