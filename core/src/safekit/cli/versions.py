"""`safekit diff`, `safekit module versions` and `rollback`: earlier configurations, and what differs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit.cli.options import Output
from safekit.cli.output import ExitCode, Format, clock, plain, rows, show
from safekit_sdk import ConfigError

if TYPE_CHECKING:
    from safekit.config.store import Store

Module = Annotated[str, typer.Argument(help="The module.")]
_SIGNS = {"add": "+", "remove": "-", "change": "~", "move": "~"}


def register(app: typer.Typer) -> None:
    app.command()(diff)


def add_to_module(app: typer.Typer) -> None:
    app.command()(versions)
    app.command()(rollback)
    app.command()(export)


def diff(
    module: Module,
    file: Annotated[
        Path | None, typer.Argument(help="A file or folder; the module's under /etc/safekit/modules when absent.")
    ] = None,
    before: Annotated[int, typer.Option("--from", help="Compare with this version, not with the one in force.")] = 0,
    after: Annotated[int, typer.Option("--to", help="Compare this version, not a file.")] = 0,
    output: Output = Format.TABLE,
) -> None:
    """Show what differs between the configuration in force and a file, or between two versions, key by key. Exit code
    3 when something does."""
    from safekit.cli.configuration import read_module
    from safekit.config.difference import differences

    if file is not None and after:
        raise ConfigError("a file and --to: one of the two", where="--to")
    store = open_store()
    old = store.version_files(module, before) if before else store.files(module)
    if after:
        new: Mapping[str, bytes] = store.version_files(module, after)
    else:
        new = store.edited(module) if file is None else read_module(file)
    found = differences(old, new)
    show([{"path": d.path, "change": d.sign, "old": d.old, "new": d.new} for d in found], output, _differences_text)
    if found:
        sys.exit(ExitCode.DIFFERENT)


def versions(module: Module, output: Output = Format.TABLE) -> None:
    """List the configurations that were in force, with when and by whom, newest first."""
    found = open_store().versions(module)
    if not found:
        raise ConfigError(f"there is no version of a module '{module}' here", hint="`safekit module list`")
    show([version.model_dump(mode="json") for version in found], output, _versions_table)


def rollback(
    module: Module,
    version: Annotated[int, typer.Argument(help="The version; the one before the newest when absent.")] = 0,
) -> None:
    """Put an earlier configuration in force again, on all nodes or on none. It becomes the newest version."""
    from safekit.cli.configuration import apply_files

    store = open_store()
    if not version:
        known = [found.number for found in store.versions(module)]
        if len(known) < 2:
            raise ConfigError(f"there is no earlier version of module '{module}'", hint="`safekit module versions`")
        version = known[1]
    apply_files(module, store.version_files(module, version))


def export(module: Module) -> None:
    """Print the configuration in force as one module file, with its includes and this node's variables filled in."""
    from safekit.cli.configuration import compile_here
    from safekit.config.export import module_file

    print(module_file(compile_here(open_store().directory(module), module)), end="")


def open_store() -> Store:
    from safekit.config.store import Store
    from safekit.settings import Settings

    return Store(Settings().etc, Settings().var)


def _versions_table(found: list[dict[str, Any]]) -> Any:
    return rows(
        "",
        ("VERSION", "TIME", "BY", "DIGEST"),
        [(str(v["number"]), clock(v["time"]), plain(v["author"]), v["digest"][:12]) for v in found],
    )


def _differences_text(found: list[dict[str, Any]]) -> Any:
    from rich.text import Text

    colours = {"add": "green", "remove": "red"}
    text = Text() if found else Text("nothing differs")
    for one in found:
        sign = one["change"]
        value = {"add": one["new"], "remove": one["old"]}.get(sign, f"{one['old']} -> {one['new']}")
        text.append(f"{_SIGNS[sign]} {one['path']}: {value}\n", style=colours.get(sign, ""))
    return text
