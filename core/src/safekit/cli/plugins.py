"""`safekit plugins`: what is installed, read from the packages' metadata; no plugin code runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import typer

from safekit.cli.options import Output
from safekit.cli.output import Format, plain, rows, show

app = typer.Typer(help="The plugins that are installed.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The plugins that are installed."""


@app.command("list")
def list_plugins(output: Output = Format.TABLE) -> None:
    """List plugins with their package and version."""
    from safekit.plugins import discover

    show([dataclasses.asdict(found) for found in discover()], output, _table)


def _table(found: list[dict[str, Any]]) -> Any:
    lines = [(p["group"], p["name"], p["package"], p["version"], plain(p["summary"])) for p in found]
    return rows("", ("GROUP", "NAME", "PACKAGE", "VERSION", "WHAT IT IS"), lines)
