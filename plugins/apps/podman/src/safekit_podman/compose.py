"""A compose file as the containers that it describes. What would not be the same here is refused, not left out.

https://github.com/compose-spec/compose-spec/blob/main/05-services.md
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from safekit_podman.interpolation import MAX_BYTES, filled_in, variables
from safekit_podman.service import NOT_HERE, Composition, Service
from safekit_sdk import ConfigError, marked_yaml

_MEND: Final = "correct it, on each node"


def read(file: Path) -> Composition:
    """ConfigError with the first thing that is wrong, its place, and what to do."""
    value = _parsed(file)
    try:
        known = variables(file.with_name(".env"))
        found = Composition.model_validate(_plain(value, known))
    except OSError as error:
        raise ConfigError(f".env cannot be read: {error.strerror}", where=str(file.parent), hint=_MEND) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _refusal(file, value, first["loc"], first["msg"].removeprefix("Value error, "), first["type"]) from None
    except ValueError as error:
        raise ConfigError(str(error), where=str(file), hint=_MEND) from None
    try:
        in_order(found)
    except CycleError as error:
        around = " > ".join(error.args[1])
        raise ConfigError(f"services depend on each other: {around}", where=str(file), hint=_MEND) from None
    return found


def in_order(found: Composition) -> list[tuple[str, Service]]:
    """Each after those that it depends on; else as they are written."""
    order = TopologicalSorter({name: service.depends_on for name, service in found.services.items()})
    return [(name, found.services[name]) for name in order.static_order()]


def _parsed(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ConfigError(f"it has more than {MAX_BYTES} characters", where=str(file), hint="is it another file?")
    except UnicodeDecodeError as error:
        raise ConfigError(f"this is not YAML: {error}", where=str(file), hint=_MEND) from None
    except OSError as error:
        hint = "it has to be on each node, outside of what is replicated"
        raise ConfigError(f"it cannot be read: {error.strerror}", where=str(file), hint=hint) from None
    value = marked_yaml.parse(text, str(file), _MEND)
    if not isinstance(value, dict):
        raise ConfigError("it has no services", where=str(file), hint=_MEND)
    return value


def _plain(value: Any, known: Mapping[str, str], depth: int = 0) -> Any:
    """Without extensions (`x-…`), with the variables filled in; ValueError."""
    if depth > 20:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        kept = ((str(key), below) for key, below in value.items() if not str(key).startswith("x-"))
        return {key: _plain(below, known, depth + 1) for key, below in kept}
    if isinstance(value, list):
        return [_plain(below, known, depth + 1) for below in value]
    return filled_in(str(value), known) if isinstance(value, str) else value


def _refusal(file: Path, value: Any, loc: tuple[int | str, ...], message: str, kind: str) -> ConfigError:
    key, top = next((part for part in reversed(loc) if isinstance(part, str)), ""), len(loc) == 1
    if kind == "extra_forbidden":
        message = f"`{key}` is not done here"
    hint = NOT_HERE.get(f"top {key}" if top else key, _MEND)
    where = f"{file}:{marked_yaml.place_of(value, loc)}"
    return ConfigError(f"{message} ({'.'.join(map(str, loc))})", where=where, hint=hint)
