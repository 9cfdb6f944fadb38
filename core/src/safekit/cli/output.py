"""How commands print and how they end.

Exit codes: 0 done, 1 error, 2 usage, 3 a difference was found, 4 a wait timed out, 5 unreachable, 6 refused for
safety.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn

from safekit_sdk import PeerError, RefusedError, SafekitError


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


UNWRAPPED = 10_000
"""Columns of what is no terminal: a line is one line for grep."""


class ExitCode:
    ERROR = 1
    USAGE = 2
    DIFFERENT = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    REFUSED = 6


def show(value: Any, form: Format, table: Callable[[Any], Any]) -> None:
    """Print the value as asked for; `table` turns it into something that rich prints."""
    if form is Format.JSON:
        print(json.dumps(value, indent=2))
    elif form is Format.YAML:
        from ruamel.yaml import YAML

        YAML().dump(value, sys.stdout)
    else:
        console().print(table(value))


def console() -> Any:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNWRAPPED
    return Console(highlight=False, width=width)


def clock(wall: float) -> str:
    """Unix time as people of this node's time zone write it."""
    return datetime.fromtimestamp(wall).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def plain(text: str) -> str:
    """Text of a plugin, a file or another node, in which brackets are brackets and not rich's markup."""
    from rich.markup import escape

    return escape(text)


def rows(title: str, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Any:
    """Cells are rich's markup: text that comes from elsewhere goes through `plain`."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def fail(error: BaseException) -> NoReturn:
    """Say what is wrong and what to do, and end with the code for its kind."""
    print(f"safekit: {error}", file=sys.stderr)
    sys.exit(exit_code(error))


def exit_code(error: BaseException) -> int:
    if isinstance(error, TimeoutError):
        return ExitCode.TIMED_OUT
    if isinstance(error, PeerError):
        return ExitCode.UNREACHABLE
    if isinstance(error, RefusedError):
        return ExitCode.REFUSED
    return ExitCode.ERROR


EXPECTED = (SafekitError, TimeoutError)
