"""`safekit status`: every module on every node."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from safekit.cli.ask import statuses
from safekit.cli.options import Output
from safekit.cli.output import Format, console, plain, rows, show

_COLOURS = {"Ready": "green", "Transient": "yellow", "NotReady": "red"}


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    module: Annotated[str, typer.Argument(help="Only this module.")] = "",
    output: Output = Format.TABLE,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing until interrupted.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="Also the resources and checkers of each module.")] = False,
) -> None:
    """Show the state of every module on every node."""
    if not watch:
        show(_only(statuses(), module), output, lambda answers: _tables(answers, steps))
        return
    from rich.live import Live

    with Live(console=console(), refresh_per_second=4) as live:
        while True:
            live.update(_tables(_only(statuses(), module), steps))
            time.sleep(0.5)


def _only(answers: dict[str, Any], module: str) -> dict[str, Any]:
    if not module:
        return answers
    for answer in answers.values():
        if result := answer.get("result"):
            result["modules"] = [found for found in result["modules"] if found["name"] == module]
    return answers


def _tables(answers: dict[str, Any], steps: bool) -> Any:
    from rich.console import Group

    parts = [rows("", ("MODULE", "NODE", "STATE", "", "SINCE", "REASON"), _lines(answers))]
    for node, answer in answers.items():
        for alarm in (answer.get("result") or {}).get("alarms", ()):
            parts.append(f"[red]ALARM on {node}: {plain(alarm)}[/red]")
    if steps:
        parts += [_detail(node, answer["result"]) for node, answer in answers.items() if answer.get("result")]
    return Group(*parts)


def _lines(answers: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    for node, answer in answers.items():
        if error := answer.get("error"):
            lines.append(("*", node, "[red]ERROR[/red]", "", "", plain(error["message"])))
            continue
        for found in answer["result"]["modules"]:
            colour = _COLOURS[found["readiness"]]
            state = f"[{colour}]{found['state']}[/{colour}]"
            lines.append(
                (found["name"], node, state, found["readiness"], _ago(found["since_s"]), plain(found["reason"]))
            )
    return sorted(lines)


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _newest(module: dict[str, Any], value: dict[str, Any]) -> str:
    """The reason of the verdict, or what the checker has answered since."""
    since = module["measured"].get(value["resource"])
    if since is None:
        return str(value["reason"])
    return f"{since['reason']} ({since['health']}, {since['age_s']:.0f} s ago)"


def _detail(node: str, result: dict[str, Any]) -> Any:
    lines = []
    for module in result["modules"]:
        lines += [
            (module["name"], "resource", step["step"], step["state"], plain(step["detail"])) for step in module["steps"]
        ]
        lines += [
            (module["name"], "value", value["resource"], plain(value["value"]), plain(_newest(module, value)))
            for value in module["values"]
        ]
    return rows(f"\n{node}", ("MODULE", "", "NAME", "STATE", "DETAIL"), lines)
