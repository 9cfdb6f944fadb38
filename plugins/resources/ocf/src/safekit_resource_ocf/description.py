"""The meta-data of a resource of ours, made from its configuration model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from safekit_sdk import Config, Resource, ResourceConfig

_OF_A_MODULE: Final = frozenset(ResourceConfig.model_fields)
"""Options that have a meaning in a module only, and limits, which Pacemaker has itself."""
_ACTIONS: Final = """<actions>
<action name="start" timeout="60s"/>
<action name="stop" timeout="90s"/>
<action name="monitor" timeout="20s" interval="10s" depth="0"/>
<action name="validate-all" timeout="20s"/>
<action name="meta-data" timeout="10s"/>
</actions>"""


class FieldKind(Enum):
    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: FieldKind
    required: bool
    default: str | None
    text: str


def fields(model: type[Config]) -> Iterator[Field]:
    """The options that an OCF agent can offer, as text each."""
    schema = model.model_json_schema()
    for name, part in schema["properties"].items():
        kind = _kind(part, schema.get("$defs", {}))
        if name not in _OF_A_MODULE and kind is not None:
            text = " ".join(str(part.get("description", "")).split())
            yield Field(name, kind, name in schema.get("required", ()), _written(part.get("default")), text)


def _kind(part: dict[str, Any], defs: dict[str, Any]) -> FieldKind | None:
    """None for what has parts that a line of text cannot say."""
    part = defs.get(str(part.get("$ref", "")).rpartition("/")[2], part)
    found = {kind for one in part.get("anyOf", ()) if one.get("type") != "null" and (kind := _kind(one, defs))}
    if found:
        return found.pop() if len(found) == 1 else FieldKind.STRING
    kinds = {"integer": FieldKind.INTEGER, "boolean": FieldKind.BOOLEAN, "array": FieldKind.LIST, "object": None}
    return kinds.get(str(part.get("type")), FieldKind.STRING)


def _written(default: Any) -> str | None:
    if default is None:
        return None
    if isinstance(default, bool):
        return str(default).lower()
    return shlex.join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def describe(name: str, cls: type[Resource[Any]]) -> str:
    """XML for `ra-api-1.dtd`."""
    summary, _, _ = (cls.__doc__ or name).strip().partition("\n")
    parameters = "\n".join(map(_parameter, fields(cls.config_model)))
    return f"""<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name={quoteattr(name)} version="1.0">
<version>1.1</version>
<longdesc lang="en">{escape(" ".join((cls.__doc__ or name).split()))}</longdesc>
<shortdesc lang="en">{escape(summary)}</shortdesc>
<parameters>
{parameters}
</parameters>
{_ACTIONS}
</resource-agent>"""


def _parameter(field: Field) -> str:
    is_list = field.kind is FieldKind.LIST
    kind = "string" if is_list else field.kind.value
    text = f"{field.text} Words as in a shell." if is_list else field.text
    default = f" default={quoteattr(field.default)}" if field.default is not None else ""
    return f"""<parameter name={quoteattr(field.name)} required="{int(field.required)}">
<longdesc lang="en">{escape(text)}</longdesc>
<shortdesc lang="en">{escape(text.partition(". ")[0].rstrip("."))}</shortdesc>
<content type="{kind}"{default}/>
</parameter>"""
