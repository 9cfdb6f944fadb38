"""`python -m safekit.plugins.quality.probe GROUP NAME`: load one plugin and print, as a line of JSON, what it is; its
README comes on standard input."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from safekit.plugins.discovery import COMMANDS, HOOKS, PANELS
from safekit.plugins.loading import RAISED, load, load_object
from safekit.plugins.observers import Observers
from safekit_sdk import AppConfig, CheckerConfig, ConfigError, Plugin, ResourceConfig, WitnessConfig

BLOCK: Final = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
BASES: Final = (AppConfig, CheckerConfig, ResourceConfig, WitnessConfig)


def main() -> None:
    """What it prints while it is loaded is not taken for the answer."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        told = probed(sys.argv[1], sys.argv[2], sys.stdin.read())
    except RAISED as error:
        told = {"trouble": str(error) or type(error).__name__}
    print(json.dumps(told), file=answer, flush=True)
    os._exit(0)


def probed(group: str, name: str, text: str) -> dict[str, Any]:
    if group == COMMANDS:
        return _command(load_object(group, name))
    if group == HOOKS:
        Observers().register(load_object(group, name), name)
        return {}
    if group == PANELS:
        if not callable(load_object(group, name)):
            raise ConfigError(f"the panel '{name}' cannot be called", hint="name a function in the entry point")
        return {}
    cls = load(group, name)
    model: type[BaseModel] = cls.config_model
    inherited = {key for base in BASES if issubclass(model, base) for key in base.model_fields}
    own = {key: field for key, field in model.model_fields.items() if key not in inherited}
    good, bad = _examples(name, cls, text)
    return {
        "keys": list(own),
        "undescribed": [key for key, field in own.items() if not field.description],
        "is_strict": model.model_config.get("extra") == "forbid",
        "is_step": not _refuses(cls),
        "examines": _overrides(cls, "preflight") or _overrides(cls, "examine"),
        "tells_facts": bool(getattr(cls, "facts", None)),
        "examples": good,
        "bad_examples": bad,
    }


def _refuses(cls: type[Any]) -> bool:
    """Whether all that its start does is to say no: an app that only writes module files."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(cls.start))).body
    except (AttributeError, OSError, TypeError, SyntaxError, ValueError):
        return False
    body = [one for one in getattr(function, "body", ()) if not isinstance(one, ast.Expr)]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "ConfigError" in ast.unparse(body[0])


def _overrides(cls: type[Any], method: str) -> bool:
    return getattr(cls, method).__func__ is not getattr(Plugin, method).__func__


def _command(found: Any) -> dict[str, Any]:
    import typer

    if not isinstance(found, typer.Typer):
        raise ConfigError("it is not a typer.Typer")
    typer.main.get_command(found)
    return {}


def _examples(name: str, cls: type[Any], text: str) -> tuple[int, list[str]]:
    """How many entries of this plugin the README shows, and what is wrong with those that its model refuses."""
    good, bad = 0, []
    for settings in _entries(name, text):
        try:
            cls.config_model.model_validate({} if settings is None else settings)
            good += 1
        except ValidationError as error:
            bad.append(error.errors()[0]["msg"])
    return good, bad


def _entries(name: str, text: str) -> Iterator[Any]:
    for block in BLOCK.findall(text):
        try:
            found = YAML(typ="safe").load(block)
        except YAMLError:
            continue
        if not isinstance(found, dict):
            continue
        for part in ("pipeline", "checkers"):
            items = found.get(part)
            yield from (item[name] for item in items or () if isinstance(item, dict) and name in item)
        witness = found.get("witness")
        if isinstance(witness, dict) and name in witness:
            yield witness[name]


if __name__ == "__main__":
    main()
