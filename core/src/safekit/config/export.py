"""A compiled module as one module file again: includes merged, variables filled in, defaults left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from safekit.config.compiled import CompiledEntry, CompiledModule, CompiledRule
from safekit.config.edit import to_yaml
from safekit.config.module import ModuleFile

_ALWAYS: Final = ("kind", "nodes")
_OF_KIND: Final = {"isolation": "mirror", "default_primary": "mirror", "weights": "farm"}
"""Keys that only one kind of module may have."""
_SAME: Final = ("kind", "description", "nodes", "heartbeat", "isolation", "default_primary", "weights", "boot")
_ALSO_SAME: Final = ("max_loops", "loop_interval", "handle_time", "conditions")


def module_file(module: CompiledModule) -> str:
    """It compiles to the same signature on the node on which this was compiled: its variables are filled in."""
    return to_yaml(dict(_content(module)))


def _content(module: CompiledModule) -> Iterator[tuple[str, Any]]:
    plain = module.model_dump(mode="json")
    defaults = ModuleFile(kind=module.kind).model_dump(mode="json")
    for key in (*_SAME, *_ALSO_SAME):
        if _OF_KIND.get(key, module.kind) == module.kind and (key in _ALWAYS or plain[key] != defaults[key]):
            yield key, _literal(plain[key])
    if module.variables:
        yield "variables", dict(module.variables)
    if module.witness is not None:
        yield "witness", _entry(module.witness)
    lists = {
        "pipeline": [_entry(step) for step in module.steps],
        "checkers": [_entry(checker) for checker in module.checkers],
        "rules": [_rule(rule) for rule in module.rules if _is_own(rule)],
        "disabled_rules": [rule.label for rule in module.rules if not rule.enabled],
    }
    yield from ((key, entries) for key, entries in lists.items() if entries)


def _entry(entry: CompiledEntry) -> dict[str, Any]:
    return {entry.plugin: _literal(entry.config)}


def _rule(rule: CompiledRule) -> Any:
    text = _literal(rule.text)
    return {"rule": text, "message": _literal(rule.message)} if rule.message else text


def _is_own(rule: CompiledRule) -> bool:
    """Neither what the setting `action` makes, nor what an app brings: both come again by themselves."""
    return not rule.origin.startswith("app '") and " action: " not in rule.origin


def _literal(value: Any) -> Any:
    """A percent sign is one, and begins no variable."""
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    return value.replace("%", "%%") if isinstance(value, str) else value
