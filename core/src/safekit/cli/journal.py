"""`safekit log` and `safekit why`: the history, as it happened and as it was decided."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from safekit.cli.ask import ask, ask_nodes, one_result
from safekit.cli.options import File, Output
from safekit.cli.output import Format, clock, console, plain, rows, show
from safekit_sdk import ConfigError


def register(app: typer.Typer) -> None:
    app.command()(log)
    app.command()(why)


def log(
    module: Annotated[str, typer.Argument(help="Only this module; every module and the node when absent.")] = "",
    last: Annotated[int, typer.Option("-n", "--last", help="How many entries.", min=1, max=5000)] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
    everything: Annotated[bool, typer.Option("--events", help="Also every input of the engine.")] = False,
    on: Annotated[str, typer.Option("--on", help="Of this node.")] = "",
    file: File = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what happened on a node: decisions, and what plugins said."""
    kinds = ("decision", "log", "event") if everything else ("decision", "log")
    if file is not None:
        show(_filed(file, on, module or None, kinds, last), output, _log_table)
        return
    found = _entries(on, module or None, kinds, last, 0)
    show(found, output, _log_table)
    while follow:
        time.sleep(0.5)
        after = found[-1]["id"] if found else 0
        newer = _entries(on, module or None, kinds, 1000, after)
        if newer:
            console().print(_log_table(newer))
            found = newer


def why(
    module: Annotated[str, typer.Argument(help="The module.")],
    on: Annotated[str, typer.Option("--on", help="As this node saw it.")] = "",
    back: Annotated[int, typer.Option("--back", help="Explain the change so many changes ago.", min=0)] = 0,
    file: File = None,
    output: Output = Format.TABLE,
) -> None:
    """Explain the last change of a module: what was decided, by which rule, on which facts."""
    args = {"module": module, "back": back}
    if file is not None:
        found = _explained(file, on, module, back)
    else:
        found = one_result(ask_nodes("why", args, (on,))) if on else ask("why", args)
    show(found, output, _why_text)


def _filed(file: Path, on: str, module: str | None, kinds: tuple[str, ...], last: int) -> list[dict[str, Any]]:
    from safekit.journal import Query, query_history
    from safekit.snapshot import history_file

    with history_file(file, on) as path:
        return [asdict(entry) for entry in query_history(path, Query(module, kinds, last=last))]


def _explained(file: Path, on: str, module: str, back: int) -> dict[str, Any]:
    from safekit.journal import explain_from
    from safekit.snapshot import history_file

    with history_file(file, on) as path:
        found = explain_from(path, module, back)
    if found is None:
        raise ConfigError(f"there is no such change of module '{module}' in it", where=str(file))
    return found


def _entries(on: str, module: str | None, kinds: tuple[str, ...], last: int, after_id: int) -> list[dict[str, Any]]:
    args = {"module": module, "kinds": kinds, "last": last, "after_id": after_id}
    if not on:
        return list(ask("entries", args))
    return list(one_result(ask_nodes("entries", args, (on,))))


def _body(entry: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(entry["body"]))


def _log_table(found: list[dict[str, Any]]) -> Any:
    lines = [(clock(entry["wall"]), entry["module"], *_log_line(entry)) for entry in found]
    return rows("", ("TIME", "MODULE", "", "WHAT"), lines)


def _log_line(entry: dict[str, Any]) -> tuple[str, str]:
    body = _body(entry)
    if entry["kind"] == "decision":
        change = f" ({body['before']} → {body['after']})" if body["before"] != body["after"] else ""
        return body["severity"], f"{plain(body['decision'])}{change} [dim]{plain(body['rule'])}[/dim]"
    if entry["kind"] == "log":
        return entry["type"], plain(str(body["line"]))
    return "event", f"[dim]{entry['type']} {plain(entry['body'][:300])}[/dim]"


def _why_text(found: dict[str, Any]) -> Any:
    from rich.text import Text

    change = found["change"]
    text = Text()
    text.append(f"{clock(found['wall'])}  {change['before']} → {change['after']}\n", style="bold")
    text.append(f"{change['decision']}\n")
    text.append(f"rule: {change['rule']}\n")
    for name, fact in change["facts"].items():
        text.append(f"  {name}: {fact}\n")
    for other in change["considered"]:
        text.append(f"not taken: {other}\n")
    if change["prevent"]:
        text.append(f"what would have prevented it: {change['prevent']}\n")
    for decision in found["after"]:
        text.append(f"{decision['later_s']:.2f} s later: {decision['decision']}")
        text.append(f" ({decision['after'] or decision['rule']})\n")
    if found["before"]:
        text.append("before that:\n")
        for decision in found["before"]:
            text.append(f"  {decision['decision']} ({decision['rule']})\n", style="dim")
    return text
