"""`safekit import`: configurations of SafeKit, keepalived and Pacemaker into ours, with an account of every line."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safekit.cli.output import Format, console, plain, rows, show
from safekit_sdk import ConfigError, RefusedError, SafekitError

if TYPE_CHECKING:
    from safekit.importing import Conversion
    from safekit.importing.account import Finding
    from safekit.importing.draft import Draft

REPORT = "import-report.txt"
COMMANDS = "cluster-commands.txt"


class Form(StrEnum):
    SAFEKIT = "safekit"
    KEEPALIVED = "keepalived"
    PACEMAKER = "pacemaker"


def register(app: typer.Typer) -> None:
    app.command("import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="userconfig.xml, cluster.xml, keepalived.conf, or a CIB as XML.")],
    form: Annotated[Form | None, typer.Option("--format", help="What it is; seen by its content when absent.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write to; all is printed when absent.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The module's name, where the file has none.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    report: Annotated[Format, typer.Option("--report", help="Form of the report.")] = Format.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Report every line, not those alone that ask you.")] = False,
) -> None:
    """Turn a configuration of SafeKit, keepalived or Pacemaker into module files; nothing is applied. The report
    accounts for every line: carried over, implied by a default, or lost, and what to do then."""
    from safekit.importing import convert

    data = _read(file)
    conversion = convert(data, str(file), None if form is None else form.value, name or _name(file))
    checked = {draft.name: _check(draft) for draft in conversion.drafts}
    written = _write(conversion, output, force) if output is not None else []
    if report is not Format.TABLE:
        _print_data(conversion, checked, written, report)
        return
    _print(conversion, checked, everything)
    for path in written:
        print(f"written: {path}")
    if output is None:
        for draft in conversion.drafts:
            print(f"\n# {draft.name}/module.yaml\n{_text(conversion, draft)}", end="")


def _read(file: Path) -> bytes:
    from safekit.importing.source import MAX_BYTES

    if not file.is_file():
        raise ConfigError("there is no such file", where=str(file))
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=str(file)) from None


def _name(file: Path) -> str:
    """SafeKit has the file of a module in NAME/conf/."""
    folder = file.resolve().parent
    if file.name == "userconfig.xml":
        return folder.parent.name if folder.name == "conf" else folder.name
    return file.stem


def _text(conversion: Conversion, draft: Draft) -> str:
    return draft.text(
        f"Made from {Path(conversion.filename).name} by `safekit import`; see the report for what it lacks."
    )


def _check(draft: Draft) -> str:
    """What keeps it from being applied, as the real compiler says it; nothing when it is good."""
    from safekit.config.compiler import compile_module

    try:
        compile_module(draft.text("check"), f"{draft.name}/module.yaml", _nodes(draft), draft.name)
    except SafekitError as error:
        return str(error)
    return ""


def _nodes(draft: Draft) -> tuple[str, ...]:
    """Those that the file names, filled up to two: the cluster is not there yet."""
    named = [*draft.content.get("nodes", ()), *draft.content.get("weights", ())]
    named += [draft.content["default_primary"]] if "default_primary" in draft.content else []
    named += [node for step in draft.content.get("pipeline", ()) for node in step.get("fence", {}).get("nodes", ())]
    known = list(dict.fromkeys(named))
    return tuple([*known, *(node for node in ("node1", "node2") if node not in known)][: max(2, len(known))])


def _write(conversion: Conversion, output: Path, force: bool) -> list[str]:
    from safekit.config.durable import replace_file

    files = {f"{draft.name}/module.yaml": _text(conversion, draft) for draft in conversion.drafts}
    files[REPORT] = "".join(f"{line}\n" for line in _lines(conversion.filename, conversion.findings))
    if conversion.commands:
        files[COMMANDS] = "".join(f"{command}\n" for command in conversion.commands)
    there = [name for name in files if (output / name).exists() or (output / name).is_symlink()]
    if there and not force:
        raise RefusedError(
            f"{', '.join(there)} is there already", where=str(output), hint="another --output, or --force"
        )
    try:
        for name, text in files.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode(), 0o644)
    except OSError as error:
        raise ConfigError(f"it cannot be written: {error.strerror}", where=str(output)) from None
    return [str(output / name) for name in files]


def _lines(filename: str, findings: tuple[Finding, ...]) -> Iterator[str]:
    """The whole account, one finding a line."""
    for finding in findings:
        lines = str(finding.place.line) if finding.last_line == finding.place.line else _span(finding)
        told = [f"{filename}:{lines}: {finding.fate.upper()}: {finding.what}".rstrip(": ")]
        told += [f"-> {finding.to}"] if finding.to else []
        told += [f"({finding.why})"] if finding.why else []
        told += [f"TO DO: {finding.todo}"] if finding.todo else []
        yield " ".join(told)


def _span(finding: Finding) -> str:
    return f"{finding.place.line}-{finding.last_line}"


def _print(conversion: Conversion, checked: dict[str, str], everything: bool) -> None:
    from safekit.importing.account import Fate, summary
    from safekit.importing.draft import packages

    shown = [finding for finding in conversion.findings if everything or finding.asks]
    if shown:
        lines = [(str(line), fate, plain(what), plain(means)) for line, fate, what, means in _gathered(shown)]
        console().print(rows("", ("LINE", "", "WHAT IT SAYS", "WHAT BECAME OF IT"), lines))
    counted = summary(conversion.findings)
    print(
        f"{counted[Fate.CARRIED]} carried over, {counted[Fate.IMPLIED]} implied by a default, {counted[Fate.LOST]} lost"
    )
    for note in conversion.notes:
        print(f"note: {note}")
    for name, mistake in checked.items():
        print(f"{name}/module.yaml: {'a good module file' if not mistake else 'not good yet: ' + mistake}")
    if needed := packages(conversion.drafts):
        print(f"needs: pip install {' '.join(needed)}")
    for command in conversion.commands:
        print(f"next, on {command}")


def _gathered(findings: list[Finding]) -> Iterator[tuple[int, str, str, str]]:
    """What stands on one line and has one fate is one row."""
    rows_of: dict[tuple[int, str, str], list[str]] = {}
    for finding in findings:
        parts = (f"→ {finding.to}" if finding.to else "", finding.why, f"to do: {finding.todo}" if finding.todo else "")
        means = "; ".join(part for part in parts if part)
        rows_of.setdefault((finding.place.line, finding.fate.value, means), []).append(finding.what)
    for (line, fate, means), what in rows_of.items():
        yield line, fate, " ".join(what), means


def _print_data(conversion: Conversion, checked: dict[str, str], written: list[str], form: Format) -> None:
    from safekit.importing.draft import packages

    found: dict[str, Any] = {
        "format": conversion.format,
        "modules": {draft.name: _text(conversion, draft) for draft in conversion.drafts},
        "mistakes": {name: mistake for name, mistake in checked.items() if mistake},
        "packages": packages(conversion.drafts),
        "commands": list(conversion.commands),
        "notes": list(conversion.notes),
        "written": written,
        "report": [_plain(finding) for finding in conversion.findings],
    }
    show(found, form, str)


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "line": finding.place.line,
        "column": finding.place.column,
        "last_line": finding.last_line,
        "what": finding.what,
        "fate": finding.fate.value,
        "to": finding.to,
        "why": finding.why,
        "todo": finding.todo,
    }
