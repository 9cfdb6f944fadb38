"""The settings of an app as fields of a form, read from the JSON Schema of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safekit_sdk import Duration

COMMON = frozenset({"name", "when", "action", "start_timeout", "stop_timeout", "force_stop_timeout", "port"})
"""Fields that every app has, and those that the form has at another place."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    help: str
    kind: str
    """text, number, choice or yesno."""
    default: str
    choices: tuple[str, ...]
    required: bool
    common: bool


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """Own settings first. What is neither a plain value nor a choice is left to the YAML."""
    needed = set(schema.get("required", ()))
    found = []
    for name, described in schema.get("properties", {}).items():
        kind, choices = _kind(described, schema.get("$defs", {}))
        if kind and name != "port":
            default = _plain(described.get("default"))
            found.append(
                Field(
                    name=name,
                    help=str(described.get("description", "")),
                    kind=kind,
                    default=default.lower() if kind == "yesno" else default,
                    choices=choices,
                    required=name in needed,
                    common=name in COMMON,
                )
            )
    return sorted(found, key=lambda field: (field.common, not field.required))


def _plain(default: Any) -> str:
    """As it would be typed; a duration's model has its seconds."""
    if isinstance(default, dict) and set(default) == {"seconds"}:
        return str(Duration(float(default["seconds"])))
    return "" if default is None else str(default)


def _kind(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    if "$ref" in described:
        return _kind(definitions.get(str(described["$ref"]).rpartition("/")[2], {}), definitions)
    for part in described.get("anyOf", ()):
        if part.get("type") != "null":
            return _kind(part, definitions)
    if "enum" in described:
        return "choice", tuple(str(one) for one in described["enum"])
    kinds = {"string": "text", "integer": "number", "number": "number", "boolean": "yesno"}
    return kinds.get(str(described.get("type", "")), ""), ()
