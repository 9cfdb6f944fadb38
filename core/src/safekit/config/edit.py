"""A module file from values, with comments that say what the keys mean."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from safekit.config.module import ModuleFile
from safekit.plugins import discover

_HEADER: Final = "Change this file, see what that would do with `safekit plan`, then `safekit apply`."
_SIGNS: Final = frozenset(":#{}[],&*!|>'\"%@`?")
_SHORT: Final = 60
"""Settings of a plugin that fit in so many characters stand on its own line."""


def to_yaml(content: Mapping[str, Any]) -> str:
    """The text of a module file with this content, keys in the model's order."""
    order = list(ModuleFile.model_fields)
    top = CommentedMap()
    for key in sorted(content, key=lambda key: order.index(key) if key in order else len(order)):
        top[key] = _node(content[key], inline=key not in {"pipeline", "checkers", "rules"})
    top.yaml_set_start_comment(_HEADER)
    for key in top:
        field = ModuleFile.model_fields.get(key)
        if field is not None and field.description:
            top.yaml_set_comment_before_after_key(key, before="\n" + " ".join(field.description.split()))
    lists = [entries for key in ("pipeline", "checkers") if (entries := top.get(key))]
    summaries = {info.name: info.summary for info in discover()} if lists else {}
    for entries in lists:
        _say_what_they_are(entries, summaries)
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(top, out)
    return out.getvalue()


def _node(value: Any, *, inline: bool) -> Any:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        mapping = CommentedMap({_text(str(key)): _node(each, inline=True) for key, each in value.items()})
        if inline and len(str(value)) <= _SHORT:
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, (list, tuple)):
        sequence = CommentedSeq([_node(each, inline=inline) for each in value])
        if inline and len(str(value)) <= _SHORT:
            sequence.fa.set_flow_style()
        return sequence
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    return _text(str(value))


def _text(text: str) -> str:
    """Quoted where a sign in it could be taken for YAML's."""
    return DoubleQuotedScalarString(text) if set(text) & _SIGNS or not text.isprintable() else text


def _say_what_they_are(entries: Any, summaries: Mapping[str, str]) -> None:
    """Each plugin's summary above its entry."""
    for index, entry in enumerate(entries or ()):
        summary = summaries.get(next(iter(entry), ""), "") if isinstance(entry, Mapping) else ""
        if summary:
            entries.yaml_set_comment_before_after_key(index, before=summary, indent=2)
