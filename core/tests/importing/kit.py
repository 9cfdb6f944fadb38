"""What the tests of the importers share."""

from __future__ import annotations

from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.importing import Conversion, Form, convert
from safekit.importing.account import Fate, Finding
from safekit.importing.draft import Draft

NODES = ("node1", "node2")


def converted(text: str, form: Form | None = None, name: str = "shop") -> Conversion:
    return convert(text.encode(), "source", form, name)


def compiled(draft: Draft) -> CompiledModule:
    """By the real compiler, with the real plugins."""
    return compile_module(draft.text("made"), f"{draft.name}/module.yaml", NODES, draft.name)


def told(conversion: Conversion, what: str) -> Finding:
    """The one finding about it."""
    found = [finding for finding in conversion.findings if finding.what.startswith(what)]
    assert len(found) == 1, [finding.what for finding in found]
    return found[0]


def lost(conversion: Conversion) -> list[str]:
    return [finding.what for finding in conversion.findings if finding.fate is Fate.LOST]


def draft(conversion: Conversion, name: str) -> Draft:
    return next(one for one in conversion.drafts if one.name == name)


def silent_lines(conversion: Conversion, text: str) -> set[int]:
    """Those that the report does not have."""
    lines = range(1, text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 2)
    covered = {line for finding in conversion.findings for line in range(finding.place.line, finding.last_line + 1)}
    return set(lines) - covered
