"""`safekit rfs …`: asks the data paths of this node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from safekit_resource_rfs.control import SOCKET, ask, follow
from safekit_sdk import ConfigError, PeerError

RUN: Final = "SAFEKIT_RUN"
"""Where a node keeps its sockets, /run/safekit unless set; as for all of safekit."""
DIFFERENT: Final = 3
"""Exit status: a difference was found."""
UPGRADE_S: Final = 40.0
UNWRAPPED: Final = 10_000
T = TypeVar("T")

app = typer.Typer(
    help="Replicated directories of this node: state, comparison, versions kept aside.", no_args_is_help=True
)
conflicts = typer.Typer(
    help="Versions that lost in a split brain: kept aside before they were overwritten.", no_args_is_help=True
)
app.add_typer(conflicts, name="conflicts")

Module = Annotated[str | None, typer.Argument(help="The module, or MODULE/NAME; all of this node when absent.")]
One = Annotated[str, typer.Argument(help="The module, or MODULE/NAME where it replicates several directories.")]
SetName = Annotated[str, typer.Argument(help="The set, as `list` shows it.", metavar="SET")]
KeptPath = Annotated[str, typer.Argument(help="The path in the directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def status(module: Module = None, as_json: AsJson = False) -> None:
    """Who has what: role, link, epoch, what is still to be sent, how far a resynchronisation is."""
    found = {name: _run(ask(place, {"do": "status"})) for name, place in _places(module).items()}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    columns = ("directory", "role", "link", "up to date", "epoch", "lag", "marked", "resync")
    _table(columns, ((name, *_cells(one)) for name, one in found.items()))
    for name, one in found.items():
        for said in filter(None, (one["waits"], _last_comparison(one))):
            print(f"{name}: {said}")


@app.command()
def verify(module: One, as_json: AsJson = False) -> None:
    """Compare every file with the other node's, while the application goes on; to be run on the primary. Exit status 3
    when something differs. What differs is marked, and copied by the next `sync`."""
    _compare(module, "verify", as_json)


@app.command()
def diff(module: One, as_json: AsJson = False) -> None:
    """Show what a comparison found to be different, without comparing again. Exit status 3 when there is something."""
    answer = _run(ask(_place(module), {"do": "diff"}))
    _show_differences(answer, as_json)


@app.command()
def sync(
    module: One,
    from_primary: Annotated[
        bool,
        typer.Option(
            "--from-primary", help="On a node that was never synchronised: overwrite what is in its directory."
        ),
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Compare everything, not only what is marked.")] = False,
) -> None:
    """Bring the other node up to date again, or with --from-primary let this one be overwritten; shows the progress."""
    place = _place(module)
    _run(ask(place, {"do": "sync", "from_primary": from_primary, "full": full}))
    _run(_show_progress(place))


@app.command()
def upgrade(module: Module = None) -> None:
    """Let the installed version of the data path take over where another one runs, or the same one anew: files stay
    open, and applications wait for a moment. One that cannot take over leaves the old one running."""
    for name, place in _places(module).items():
        before = _run(ask(place, {"do": "status"}))
        _run(ask(place, {"do": "upgrade"}, UPGRADE_S))
        after = _run(_successor(place, before["started"]))
        print(f"{name}: version {after['version']} has taken over from {before['version']}")


async def _successor(place: Path, started_s: float) -> dict[str, Any]:
    """The status of the program that came later. PeerError when none comes."""
    async with asyncio.timeout(UPGRADE_S):
        while True:
            with contextlib.suppress(PeerError):
                found = await ask(place, {"do": "status"})
                if found["started"] != started_s:
                    return found
            await asyncio.sleep(0.1)


@conflicts.command("list")
def list_conflicts(module: One, as_json: AsJson = False) -> None:
    """What is kept aside on this node, the latest first."""
    answer = _run(ask(_place(module), {"do": "conflicts"}))
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    lines = (
        (one["group"], one["path"], str(one["size_bytes"]), time.strftime("%F %T", time.localtime(one["mtime_s"])))
        for one in answer["kept"]
    )
    _table(("set", "path", "bytes", "changed"), lines)


@conflicts.command("show")
def show_conflict(module: One, kept_set: SetName, path: KeptPath) -> None:
    """Print the path of a kept version, to look at it with other programs."""
    print(_run(ask(_place(module), {"do": "conflict", "set": kept_set, "path": path}))["place"])


@conflicts.command("restore")
def restore_conflict(
    module: One,
    kept_set: SetName,
    path: KeptPath,
    to: Annotated[str | None, typer.Option(help="Another path in the directory; where it was when absent.")] = None,
) -> None:
    """Copy a kept version back into the directory; on the primary, so that both nodes get it."""
    request = {"do": "restore", "set": kept_set, "path": path, "to": to or path}
    print(_run(ask(_place(module), request, 600.0))["place"])


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _places(wanted: str | None) -> dict[str, Path]:
    """The run directories of the data paths of this node, by MODULE/NAME. ConfigError when there is none."""
    base = Path(os.environ.get(RUN, "/run/safekit")) / "modules"
    found = {}
    for socket in sorted(base.glob(f"*/rfs.*/{SOCKET}")):
        module, name = socket.parts[-3], socket.parts[-2].removeprefix("rfs.")
        if wanted in (None, module, f"{module}/{name}"):
            found[f"{module}/{name}"] = socket.parent
    if not found:
        what = f"of '{wanted}' " if wanted else ""
        raise ConfigError(f"no data path {what}runs on this node", hint="start the module: safekit module start")
    return found


def _place(wanted: str) -> Path:
    found = _places(wanted)
    if len(found) > 1:
        raise ConfigError(f"'{wanted}' replicates several directories", hint=f"give one: {', '.join(found)}")
    return next(iter(found.values()))


def _cells(one: Mapping[str, Any]) -> Iterable[str]:
    resync = one.get("resync") or {}
    part = f"{resync['done_bytes']}/{resync['total_bytes']} B" if resync else "-"
    is_late = one["waits"] and one["role"] == "secondary"
    lag = f"{one['lag_changes']} changes, {one['lag_bytes']} B"
    yield from (one["role"], one["link"], "yes" if one["up_to_date"] and not is_late else "no", str(one["epoch"]), lag)
    yield from (str(one["marks"]), part)


def _last_comparison(one: Mapping[str, Any]) -> str:
    verified = one["verified"]
    return f"{time.strftime('%F %T', time.localtime(verified['at_s']))}: {verified['told']}" if verified else ""


def _table(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*(escape(cell) for cell in line))
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNWRAPPED
    Console(highlight=False, width=width).print(table)


def _compare(module: str, word: str, as_json: bool) -> None:
    place = _place(module)
    _run(ask(place, {"do": word}))
    _run(_show_progress(place))
    _show_differences(_run(ask(place, {"do": "diff"})), as_json)


def _show_differences(answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        for one in answer["differences"]:
            print(f"{one['path']}: {one['what']}")
    if answer["failure"]:
        raise PeerError(
            f"the comparison was {answer['failure']}", hint="when both are paired again: safekit rfs verify"
        )
    if answer["differences"]:
        raise typer.Exit(DIFFERENT)


async def _show_progress(place: Path) -> None:
    """Until neither a resynchronisation nor a comparison goes on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("compared", total=None, rate="")
        async for told in follow(place):
            resync = told.get("verify") or told.get("resync")
            if not resync:
                return
            rate = f"{resync['rate_bytes_per_s'] / 1e6:.1f} MB/s"
            progress.update(task, total=resync["total_bytes"] or None, completed=resync["done_bytes"], rate=rate)
