"""`safekit-host --compile`: a module's files to its compiled form, with what this machine lacks for it; or what the
installed apps want to know, and the module file that suits an answer. In a process of its own: plugins are imported
here."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from safekit_sdk.plugin import MAX_FACT_CHARS, MAX_FACTS, MAX_REMARK_CHARS, MAX_REMARKS


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
        seen = examine(compiled, request["node"]) if request["node"] in compiled.nodes else Seen()
    except Exception as error:  # a plugin may raise anything; the operator is told which
        return {"error": error_body(error).model_dump(), "compiled": None, "findings": [], "warnings": [], "facts": {}}
    return {
        "error": None,
        "compiled": compiled.model_copy(update={"remarks": (*compiled.remarks, *seen.notes)}).model_dump(mode="json"),
        "findings": seen.findings,
        "warnings": list(compiled.warnings),
        "facts": seen.facts,
    }


def _confront(request: dict[str, Any]) -> dict[str, Any]:
    """By node, what does not fit what the others told."""
    found: dict[str, list[str]] = {}
    for entry in _entries(CompiledModule.model_validate(request["compiled"])):
        told = {node: facts[entry.resource] for node, facts in request["facts"].items() if entry.resource in facts}
        if len(told) > 1:
            for node, sentences in _confronted(entry, told).items():
                found.setdefault(node, []).extend(f"{entry.plugin}: {one}" for one in sentences)
    return {"error": None, "findings": found}


def _confronted(entry: _Entry, told: Mapping[str, Mapping[str, str]]) -> Mapping[str, Sequence[str]]:
    try:
        with calling(GROUPS[entry.group], entry.plugin, "cannot compare the nodes"):
            found = entry.cls.confront(entry.model, told)
            return {node: [str(one) for one in found.get(node, ())] for node in told}
    except SafekitError as error:
        return {node: [str(error)] for node in told}


@dataclass(slots=True)
class Seen:
    """On one machine, one sentence each."""

    findings: list[str] = field(default_factory=list)
    """What would make a start fail."""
    notes: list[str] = field(default_factory=list)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    """By resource, what is compared with the other nodes."""


def examine(compiled: CompiledModule, node: str) -> Seen:
    seen = Seen()
    entries = list(_entries(compiled))
    for entry in entries:
        config = entry.model
        beside = [other.model for other in entries if other is not entry and other.cls is entry.cls]
        try:
            with calling(GROUPS[entry.group], entry.plugin, "cannot examine this machine"):
                found = entry.cls.examine(config, _context(compiled, node, entry), beside)
        except SafekitError as error:
            found = Examination((str(error),))
        seen.findings += [f"{entry.plugin}: {finding}" for finding in found.findings]
        seen.notes += [f"{entry.resource}: {note[:MAX_REMARK_CHARS]}" for note in found.notes[:MAX_REMARKS]]
        if found.facts:
            told = itertools.islice(found.facts.items(), MAX_FACTS)
            seen.facts[entry.resource] = {name: value for name, value in told if len(value) <= MAX_FACT_CHARS}
    return seen


def _entries(compiled: CompiledModule) -> Iterator[_Entry]:
    for step in compiled.steps:
        yield _Entry(step.group, step.plugin, step.ident, step.resource, step.config)
    for one in compiled.checkers:
        yield _Entry("checker", one.plugin, one.ident, one.resource, one.config)


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
        pipeline=tuple((step.plugin, step.config) for step in compiled.steps),
    )


_QUESTIONS = {"compile": _compile, "confront": _confront, "apps": _apps, "module-file": _module_file}
