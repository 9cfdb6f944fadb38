"""`safekit-host --compile`: a module's files to its compiled form, with what this machine lacks for it; or what the
installed apps want to know, and the module file that suits an answer. In a process of its own: plugins are imported
here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from safekit.bus.messages import error_body
from safekit.config.bundle import read_bundle
from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.config.edit import to_yaml
from safekit.host.instances import GROUPS, place_of
from safekit.host.supervision import supervised
from safekit.plugins import calling, discovery, load
from safekit.settings import Settings
from safekit_sdk import ConfigError, Context, Examination, ModuleRequest, Plugin, SafekitError
from safekit_sdk.plugin import MAX_REMARK_CHARS, MAX_REMARKS


def compile_from_stdin() -> int:
    """Read one JSON request, print one JSON answer; what plugins print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    with answers, contextlib.redirect_stdout(sys.stderr):
        json.dump(supervised(lambda: _QUESTIONS[request.get("question", "compile")](request)), answers)
    return 0


def _apps(request: dict[str, Any]) -> dict[str, Any]:
    """Those that cannot be loaded say why in the place of their settings."""
    del request
    return {"error": None, "apps": [_app(info) for info in discovery.discover() if info.group == discovery.APPS]}


def _app(info: discovery.PluginInfo) -> dict[str, Any]:
    told = {"name": info.name, "summary": info.summary, "schema": {}, "trouble": ""}
    try:
        return told | {"schema": load(info.group, info.name).config_model.model_json_schema()}
    except Exception as error:  # a plugin's door
        return told | {"trouble": str(error)[:2000]}


def _module_file(request: dict[str, Any]) -> dict[str, Any]:
    try:
        plugin = load(discovery.APPS, request["app"])
        names = ("kind", "vips", "port", "sticky", "options")
        wanted = ModuleRequest(request["module"], **{name: request[name] for name in names})
        with calling(discovery.APPS, request["app"], "cannot write a module file"):
            return {"error": None, "text": _written(plugin, wanted)}
    except Exception as error:  # a plugin's door
        return {"error": error_body(error).model_dump()}


def _written(plugin: Any, wanted: ModuleRequest) -> str:
    try:
        return to_yaml(plugin.module_file(wanted))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(first["msg"], where=".".join(str(part) for part in first["loc"])) from None


def _compile(request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["directory"]) / "module.yaml"
    try:
        files, shown = read_bundle(path.parent), f"{request['module']}/module.yaml"
        nodes, name = tuple(request["nodes"]), request["module"]
        compiled = compile_module(files[path.name], shown, nodes, name, node=request["node"], beside=files)
        findings, notes = examine(compiled, request["node"]) if request["node"] in compiled.nodes else ([], [])
    except Exception as error:  # a plugin may raise anything; the operator is told which
        return {"error": error_body(error).model_dump(), "compiled": None, "findings": [], "warnings": []}
    return {
        "error": None,
        "compiled": compiled.model_copy(update={"remarks": (*compiled.remarks, *notes)}).model_dump(mode="json"),
        "findings": findings,
        "warnings": list(compiled.warnings),
    }


def examine(compiled: CompiledModule, node: str) -> tuple[list[str], list[str]]:
    """What on this machine would make a start fail, and what its plugins note there, one sentence each."""
    findings: list[str] = []
    notes: list[str] = []
    entries = [_Entry(step.group, step.plugin, step.ident, step.resource, step.config) for step in compiled.steps]
    entries += [_Entry("checker", one.plugin, one.ident, one.resource, one.config) for one in compiled.checkers]
    for entry in entries:
        config = entry.model
        beside = [other.model for other in entries if other is not entry and other.cls is entry.cls]
        try:
            with calling(GROUPS[entry.group], entry.plugin, "cannot examine this machine"):
                found = entry.cls.examine(config, _context(compiled, node, entry), beside)
        except SafekitError as error:
            found = Examination((str(error),))
        findings += [f"{entry.plugin}: {finding}" for finding in found.findings]
        notes += [f"{entry.resource}: {note[:MAX_REMARK_CHARS]}" for note in found.notes[:MAX_REMARKS]]
    return findings, notes


@dataclass(frozen=True, slots=True)
class _Entry:
    group: str
    plugin: str
    ident: str
    resource: str
    config: dict[str, Any]

    @property
    def cls(self) -> type[Plugin[Any]]:
        return load(GROUPS[self.group], self.plugin)

    @property
    def model(self) -> Any:
        return self.cls.config_model.model_validate(self.config)


def _context(compiled: CompiledModule, node: str, entry: _Entry) -> Context:
    """Where the instance would live; nothing is made."""
    settings, place = Settings(), place_of(compiled.name, entry.plugin, entry.ident)
    return Context(
        module=compiled.name,
        kind=compiled.kind,
        node=node,
        name=entry.ident,
        state_dir=settings.var / place,
        run_dir=settings.run / place,
        settings=compiled.variables,
    )


_QUESTIONS = {"compile": _compile, "apps": _apps, "module-file": _module_file}
