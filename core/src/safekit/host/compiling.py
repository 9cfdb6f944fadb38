"""`safekit-host --compile`: a module's files to its compiled form, with what this machine lacks for it. In a
process of its own: plugins are imported here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from safekit.bus.messages import error_body
from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.host.instances import GROUPS
from safekit.plugins import load
from safekit_sdk import SafekitError


def compile_from_stdin() -> int:
    """Read one JSON request, print one JSON answer; what plugins print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    with answers, contextlib.redirect_stdout(sys.stderr):
        json.dump(_answer(request), answers)
    return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["directory"]) / "module.yaml"
    try:
        text = path.read_bytes()
        compiled = compile_module(text, f"{request['module']}/module.yaml", tuple(request["nodes"]), request["module"])
        findings = preflight(compiled) if request["node"] in compiled.nodes else []
    except Exception as error:  # a plugin may raise anything; the operator is told which
        return {"error": error_body(error).model_dump(), "compiled": None, "findings": [], "warnings": []}
    return {
        "error": None,
        "compiled": compiled.model_dump(mode="json"),
        "findings": findings,
        "warnings": list(compiled.warnings),
    }


def preflight(compiled: CompiledModule) -> list[str]:
    """What on this machine would make a start fail, one sentence each."""
    findings: list[str] = []
    entries: list[tuple[str, str, dict[str, Any]]] = [(step.group, step.plugin, step.config) for step in compiled.steps]
    entries += [("checker", checker.plugin, checker.config) for checker in compiled.checkers]
    for group, plugin, config in entries:
        cls = load(GROUPS[group], plugin)
        try:
            found = cls.preflight(cls.config_model.model_validate(config), compiled.kind)
        except SafekitError as error:
            found = [str(error)]
        findings += [f"{plugin}: {finding}" for finding in found]
    return findings
