"""JSON Schema (2020-12) of module.yaml with the settings of every installed plugin, for editors. Imports plugins."""

from __future__ import annotations

from typing import Any, Final

from safekit.config.entries import CHECKER_GROUPS, STEP_GROUPS
from safekit.config.module import ModuleFile
from safekit.plugins import discover, load

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """A plugin that cannot be loaded is accepted with any settings; its description says why."""
    schema = ModuleFile.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for key, groups in (("pipeline", STEP_GROUPS), ("checkers", CHECKER_GROUPS)):
        settings = {
            info.name: _settings(info.group, info.name, info.summary, definitions)
            for info in discover()
            if info.group in groups
        }
        schema["properties"][key]["items"] = {
            "type": "object",
            "properties": settings,
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
    return {"$schema": DIALECT, **schema}


def _settings(group: str, name: str, summary: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to the plugin's own schema, which is put among the definitions under a name of its own."""
    prefix = f"{group.removeprefix('safekit.')}.{name}"
    try:
        schema = load(group, name).config_model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    except Exception as error:  # a plugin's door
        return {"description": f"{summary} (its settings are not known here: {error})"}
    for inner, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{inner}"] = definition
    definitions[prefix] = {**schema, "title": name, "description": summary or schema.get("description", "")}
    return {"anyOf": [{"$ref": f"#/$defs/{prefix}"}, {"type": "null"}]}
