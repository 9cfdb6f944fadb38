"""YAML that knows where each of its values stands, for messages. Its library comes with `safekit-sdk[yaml]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from safekit_sdk.errors import ConfigError


def parse(text: str, where: str, hint: str) -> Any:
    """ConfigError with file, line and column when it is none. `where` is the file."""
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ConfigError(f"this is not YAML: {error.problem}", where=place, hint=hint) from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"this is not YAML: {str(error).splitlines()[0]}", where=where, hint=hint) from None


def place_of(value: Any, path: Sequence[int | str]) -> str:
    """`LINE:COLUMN` of what is at the path in what `parse` returned, or of the nearest thing around it."""
    line, column = 0, 0
    for part in path:
        if isinstance(value, CommentedMap) and part in value:
            line, column = value.lc.key(part)
        elif isinstance(value, CommentedSeq) and isinstance(part, int) and part < len(value):
            line, column = value.lc.item(part)
        else:
            break
        value = value[part]
    return f"{line + 1}:{column + 1}"
