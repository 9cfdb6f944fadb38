"""Variables in a compose file, from the file `.env` beside it and from nowhere else: every node has the same.

https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1 << 18
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?])(?P<other>[^{}$]*))?\}|(?P<bad>))"
)


def variables(file: Path) -> dict[str, str]:
    """NAME=VALUE a line; none when there is no such file. OSError when it cannot be read."""
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", errors="replace") as opened:
        lines = (line.strip() for line in opened.read(MAX_BYTES).splitlines())
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        return {name.strip(): _unquoted(value.strip()) for name, _, value in pairs}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def filled_in(text: str, known: Mapping[str, str]) -> str:
    """ValueError for one that has neither a value nor a default, where compose programs go on with nothing."""
    return _VARIABLE.sub(lambda found: _value(found, known), text)


def _value(found: re.Match[str], known: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    name, how = found["bare"] or found["name"], found["how"] or ""
    if not name:
        raise ValueError("a $ that begins no variable is written $$")
    value = known.get(name)
    if value is not None and (value or ":" not in how):
        return value
    if how.endswith("-"):
        return str(found["other"])
    raise ValueError(f"the variable {name} has no value: {found['other'] or 'write it to .env beside the file'}")
