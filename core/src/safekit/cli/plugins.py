"""`safekit plugins`: what is installed, read from the packages' metadata; no plugin code runs."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit.cli.options import Output
from safekit.cli.output import ExitCode, Format, plain, rows, show

app = typer.Typer(help="The plugins that are installed.", no_args_is_help=True)

if TYPE_CHECKING:
    from safekit.plugins.quality import Judgement


class Asked(StrEnum):
    """The tiers; named here so that a help text imports nothing."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


Package = Annotated[str, typer.Argument(metavar="PACKAGE", help="An installed package, or a plugin of one.")]


@app.callback()
def _group() -> None:
    """The plugins that are installed."""


@app.command("list")
def list_plugins(output: Output = Format.TABLE) -> None:
    """List plugins with package, version, the API that they were written for, and where their documentation is."""
    from safekit.plugins import declared_api, discover

    found = [dataclasses.asdict(info) | {"api": declared_api(info.value)} for info in discover()]
    show(found, output, _table)


def _table(found: list[dict[str, Any]]) -> Any:
    columns = ("GROUP", "NAME", "PACKAGE", "VERSION", "API", "WHAT IT IS", "DOCUMENTATION")
    return rows("", columns, [_line(plugin) for plugin in found])


def _line(plugin: dict[str, Any]) -> tuple[str, ...]:
    known = (plugin["group"], plugin["name"], plugin["package"], plugin["version"])
    api = "" if plugin["api"] is None else str(plugin["api"])
    where = plugin["docs_url"] or f"safekit plugins docs {plugin['package']}"
    return tuple(plain(text) for text in (*known, api, plugin["summary"], where))


@app.command()
def docs(package: Package) -> None:
    """Print the documentation that a package brings along: its README. No network is needed."""
    from safekit.plugins import readme

    print(readme(package))


@app.command()
def check(
    package: Package,
    tier: Annotated[Asked, typer.Option("--tier", help="Fail unless it reaches this.")] = Asked.BRONZE,
    source: Annotated[
        Path | None, typer.Option("--source", help="The folder that it is built from, where its tests are.")
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Also run its tests and mypy.")] = True,
    output: Output = Format.TABLE,
) -> None:
    """Say which tier a package reaches, and what it lacks for the next: bronze, silver or gold. Its code is loaded, in
    a process of its own. Exit code 3 when it does not reach what was asked for."""
    from safekit.plugins.quality import Tier, gather, judge, reached

    subject = gather(package, source)
    judgements = judge(subject, run=run)
    best = reached(judgements)
    told = {"package": subject.name, "version": subject.version, "tier": best.value if best else "none", "run": run}
    show(told | {"criteria": [_criterion(one) for one in judgements]}, output, _judged)
    tiers = list(Tier)
    if best is None or tiers.index(best) < tiers.index(Tier(tier.value)):
        raise typer.Exit(ExitCode.DIFFERENT)


def _criterion(found: Judgement) -> dict[str, Any]:
    asked = found.criterion
    return {
        "tier": asked.tier.value,
        "criterion": asked.name,
        "asks": asked.asks,
        "outcome": found.outcome.value,
        "troubles": list(found.troubles),
    }


def _judged(told: dict[str, Any]) -> Any:
    lines = [
        (one["tier"], one["criterion"], one["outcome"], plain("\n".join(one["troubles"]) or one["asks"]))
        for one in sorted(told["criteria"], key=lambda one: list(Asked).index(Asked(one["tier"])))
    ]
    unrun = "" if told["run"] else " (its tests and mypy were not run)"
    title = f"{told['package']} {told['version']}: {told['tier']}{unrun}"
    return rows(title, ("TIER", "CRITERION", "", "WHAT IT ASKS, OR WHAT IS MISSING"), lines)
