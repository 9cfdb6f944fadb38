"""What the commands print: a table for people, JSON or YAML for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .probe.summary import Summary

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
Row = Mapping[str, Value]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def show(rows: Sequence[Row], form: Format) -> None:
    """Print to stdout. The columns are the keys of the first row."""
    match form:
        case Format.JSON:
            print(json.dumps(rows, indent=2))
        case Format.YAML:
            print("\n".join(_yaml(rows)))
        case Format.TABLE:
            _show_table(rows)


def show_summary(summary: "Summary", form: Format) -> None:
    """In a table the outages come below."""
    fields = asdict(summary)
    if form is not Format.TABLE:
        show([fields], form)
        return
    lost = fields.pop("outages")
    show([{"what": key, "value": value} for key, value in fields.items()], form)
    show(lost, form)


def _show_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(*(key.upper() for key in rows[0]), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Value) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return " ".join(_cell(item) for item in value)


def _yaml(value: Value) -> list[str]:
    """Block style; scalars as JSON, which YAML 1.2 reads unchanged."""
    if isinstance(value, Mapping) and value:
        return [line for key, item in value.items() for line in _under(f"{key}:", item)]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return [("- " if first else "  ") + line for item in value for first, line in _marked(_yaml(item))]
    return [json.dumps(value)]


def _under(key: str, item: Value) -> list[str]:
    lines = _yaml(item)
    nested = bool(item) and not isinstance(item, str | int | float)
    return [key, *(f"  {line}" for line in lines)] if nested else [f"{key} {lines[0]}"]


def _marked(lines: Sequence[str]) -> list[tuple[bool, str]]:
    return [(index == 0, line) for index, line in enumerate(lines)]
