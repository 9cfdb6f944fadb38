"""`safekit replay`: a stretch of a node's history once more, as it was or under other settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit.cli.options import File, Output
from safekit.cli.output import ExitCode, Format, clock, plain, rows, show
from safekit_sdk import ConfigError

if TYPE_CHECKING:
    from safekit.replaying.changes import Changes
    from safekit.replaying.findings import Finding
    from safekit.replaying.replay import Replayed

SHOWN_DEVIATIONS = 10


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    module: Annotated[str, typer.Argument(help="The module.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting: heartbeat.lost_after=3s, disabled_rules=home_down; repeatable."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="The settings and rules of this module.yaml or folder.")
    ] = None,
    since: Annotated[str, typer.Option("--since", help="Begin so long ago, or at a time: 2026-11-27T22:00.")] = "24h",
    until: Annotated[str, typer.Option("--until", help="End likewise; now when absent.")] = "",
    file: File = None,
    on: Annotated[str, typer.Option("--on", help="Of this node of the snapshot; of the one that made it.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """Give the engine again what it was told on this node, as it was or under other settings: what would not have
    happened, what else would, and was it called for. Nothing is touched. Exit code 3 when something differs."""
    from safekit.journal.stretch import find_stretch
    from safekit.replaying import findings
    from safekit.replaying import replay as replaying
    from safekit.settings import Settings
    from safekit.snapshot import history_file

    begin, end = _moment(since, "--since"), _moment(until or "0", "--until")
    if begin >= end:
        raise ConfigError("it ends before it begins", where=f"--until {until}")
    changes = _changes(module, settings or [], source)
    with history_file(file or Settings().var / "history.db", on) as path:
        stretch = find_stretch(path, begin, end + findings.SHORT_S)
        done = replaying.replay(stretch.entries(), stretch.pauses(), changes, begin, end)
    found = _as_data(module, done, settings or [], source)
    show(found, output, _text)
    if done.deviations or any(line["outcome"] != findings.Outcome.SAME for line in found["findings"]):
        raise typer.Exit(ExitCode.DIFFERENT)


def _moment(text: str, option: str) -> float:
    """Unix time: a duration is so long ago."""
    from datetime import datetime

    from safekit_sdk import Duration

    try:
        return time.time() - Duration.parse(text).seconds
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        hint = "write how long ago, as 24h, or when, as 2026-11-27T22:00"
        raise ConfigError(f"'{text}' is no time", where=f"{option} {text}", hint=hint) from None


def _changes(module: str, settings: list[str], source: Path | None) -> Changes:
    from safekit.replaying.changes import read_changes

    if source is None:
        return read_changes(module, settings, None)
    from safekit.cli.configuration import compile_here

    return read_changes(module, settings, compile_here(source, module))


def _as_data(module: str, done: Replayed, settings: list[str], source: Path | None) -> dict[str, Any]:
    return {
        "module": module,
        "node": done.node,
        "since": done.begin,
        "until": done.end,
        "starts": done.starts,
        "settings": [*([f"--from {source}"] if source else []), *settings],
        "findings": [_line(finding) for finding in done.findings],
        "decisions": done.decisions,
        "deviations": [
            {"wall": each.wall, "on_record": each.on_record, "rule": each.decision.rule, "what": each.decision.decision}
            for each in done.deviations
        ],
    }


def _line(finding: Finding) -> dict[str, Any]:
    act = finding.act
    return {
        "wall": act.wall,
        "kind": str(act.kind),
        "module": act.module,
        "what": act.what,
        "why": act.why,
        "outcome": str(finding.outcome),
        "by_s": round(finding.by_s, 3),
        "instead": finding.other,
        "judgement": str(finding.judgement),
        "evidence": finding.evidence,
    }


def _text(found: dict[str, Any]) -> Any:
    from rich.console import Group

    lines = [
        (clock(line["wall"]), plain(line["what"]), plain(_outcome(line)), line["judgement"], plain(line["evidence"]))
        for line in found["findings"]
    ]
    span = f"{clock(found['since'])} to {clock(found['until'])}"
    settings = f", with {' '.join(found['settings'])}" if found["settings"] else ""
    table = rows("", ("TIME", "WHAT", "OUTCOME", "WAS", "BECAUSE"), lines) if lines else "nothing was lost or acted on"
    said = [plain(line) for line in (*_totals(found), *_agreement(found))]
    return Group(plain(f"{found['module']} on {found['node']}, {span}{settings}"), table, *said)


def _outcome(line: dict[str, Any]) -> str:
    if line["outcome"] in {"earlier", "later"}:
        return f"{line['by_s']:.2f} s {line['outcome']}"
    return f"{line['outcome']}: {line['instead']}" if line["instead"] else str(line["outcome"])


def _totals(found: dict[str, Any]) -> list[str]:
    if not found["settings"]:
        return []
    counts: dict[tuple[str, str], int] = {}
    for line in found["findings"]:
        key = line["outcome"], line["judgement"]
        counts[key] = counts.get(key, 0) + 1
    told = [f"{number} {outcome} ({judgement})" for (outcome, judgement), number in sorted(counts.items())]
    return [
        ", ".join(told),
        "each by itself: all that was before it is as recorded, and so is what the other nodes did",
    ]


def _agreement(found: dict[str, Any]) -> list[str]:
    count, deviations = found["decisions"], found["deviations"]
    if not deviations:
        return [f"without other settings the engine decides as it did: all of {count} decisions"]
    shown = [
        f"  {clock(each['wall'])} {'only on record' if each['on_record'] else 'not on record'}: "
        f"{each['what']} ({each['rule']})"
        for each in deviations[:SHOWN_DEVIATIONS]
    ]
    left_out = [f"  and {len(deviations) - SHOWN_DEVIATIONS} more"] if len(deviations) > SHOWN_DEVIATIONS else []
    return [
        f"the engine does not decide as it did: {len(deviations)} differences to {count} decisions. Another version of "
        "safekit wrote the record, or this is a defect of safekit",
        *shown,
        *left_out,
    ]
