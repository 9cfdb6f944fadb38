"""`safekit doctor`: what is wrong or at risk, on every node, and what mends it."""

from __future__ import annotations

import socket
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from safekit.cli.ask import answers, ask
from safekit.cli.options import Output
from safekit.cli.output import ExitCode, Format, console, plain, show
from safekit.diagnosis import ClusterFacts, Report, Severity, diagnose
from safekit.settings import Settings
from safekit_sdk import ConfigError

NODE_S: Final = 20.0
"""How long a node may take for its answer; the whole takes little longer."""
_COLOURS: Final = {Severity.ALARM: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    module: Annotated[
        str, typer.Argument(help="Only this module and its nodes; every module when absent. Or a snapshot, a .tar.gz.")
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Name what is wrong or at risk on any node, in order of weight, and what mends it. Nothing is changed. Exit code
    3 when there is an alarm or a warning. Also where safekitd does not run: then of this machine only. Of a snapshot it
    says what it would have said when that was made."""
    from safekit.snapshot import Snapshot, is_snapshot

    report = diagnose(Snapshot(Path(module)).cluster_facts()) if is_snapshot(module) else _asked(module)
    show(report.model_dump(mode="json"), output, lambda _: _text(report))
    if report.at_risk:
        sys.exit(ExitCode.DIFFERENT)


def _asked(module: str) -> Report:
    """The daemon of this node asks every node; without one this machine is looked at from outside."""
    if not answers():
        return diagnose(_alone(module))
    args = {"module": module or None, "timeout_s": NODE_S}
    return Report.model_validate(ask("diagnose", args, timeout_s=NODE_S + 10.0))


def _alone(module: str) -> ClusterFacts:
    from safekit.daemon.aftermath import examine_without_daemon

    trouble = examine_without_daemon(Settings(), module)
    if module and trouble.node and module not in trouble.modules:
        names = ", ".join(trouble.modules) or "none"
        raise ConfigError(f"there is no module '{module}' on this node", hint=f"there are: {names}")
    name = trouble.node or socket.gethostname()
    return ClusterFacts(asker=name, asked_wall=time.time(), daemon=trouble, module=module)


def _text(report: Report) -> Any:
    from rich.console import Group

    width = console().width
    parts: list[Any] = []
    for one in report.findings:
        colour = _COLOURS[one.severity]
        parts.append(f"[{colour}]{one.severity.upper()}[/{colour}] [bold]{plain(one.where)}[/bold]: {plain(one.what)}")
        parts += [plain(_indented(one.why, width)), plain(_indented(f"to do: {one.mend}", width))]
    parts += [f"not looked at: {plain(sentence)}" for sentence in report.not_looked_at]
    return Group(*parts, _summary(report))


def _indented(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _summary(report: Report) -> str:
    counted = [(report.count(severity), str(severity)) for severity in Severity]
    found = (
        ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counted if count) or "nothing found"
    )
    nodes, modules = len(report.nodes), len(report.modules)
    if not nodes:
        return f"{found}; only this machine was looked at"
    return f"{found}; {nodes} node{'s' * (nodes != 1)} and {modules} module{'s' * (modules != 1)} looked at"
