"""What every app passes, besides what it passes as a resource."""

from __future__ import annotations

import json
import re
from importlib.metadata import entry_points
from typing import Any, ClassVar, get_args

import pytest
from pydantic import TypeAdapter

from safekit_sdk.app import App, Entry, ModuleRequest
from safekit_sdk.plugin import ModuleKind, Plugin
from safekit_sdk.testing.conformance.resource import ResourceConformance
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.units import Ident

_RULE = re.compile(
    r"\s*[A-Za-z0-9_.:-]+\s*:\s*if\s*\(.+\)\s*(for\s+[0-9.]+[a-z]*\s+)?then\s+(restart|stopstart|stop|wait|swap)\s*;?\s*"
)


class AppConformance(ResourceConformance):
    """A subclass gives what ResourceConformance needs, and `kinds` where the app does not suit every kind."""

    plugin: ClassVar[type[App[Any]]]
    group = "safekit.apps"
    may_need_plugins = True
    kinds: ClassVar[tuple[ModuleKind, ...]] = get_args(ModuleKind)
    """Kinds of module for which `module_file` gives a file."""

    def request(self, kind: ModuleKind) -> ModuleRequest:
        """What the operator asks for; override it where the app needs options."""
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest(name="test", kind=kind, vips=vips, port=8080)

    def test_its_checkers_are_entries_that_their_plugins_accept(self, config: Any, context: RecordingContext) -> None:
        for entry in self.made(config, context).checkers():
            check_entry(entry, "safekit.checkers")

    def test_its_rules_can_be_read(self, config: Any, context: RecordingContext) -> None:
        for rule in self.made(config, context).rules():
            assert _RULE.fullmatch(rule), f"not `label: if (expression) then action`: {rule}"

    def test_it_writes_a_module_file_for_each_kind(self) -> None:
        assert self.kinds, "kinds is empty: an app suits at least one kind of module"
        for kind in self.kinds:
            content = self.plugin.module_file(self.request(kind))
            assert json.loads(json.dumps(content)) == content, "plain values only, as YAML has them"
            assert content.get("kind") == kind
            assert content.get("pipeline"), f"the pipeline of the {kind} module is empty"
            for step in content["pipeline"]:
                check_entry(step, "safekit.resources", "safekit.apps")
            for entry in content.get("checkers", ()):
                check_entry(entry, "safekit.checkers")

    def test_its_module_file_has_the_app_in_the_pipeline(self) -> None:
        name = self._entry_point()[0].name
        for kind in self.kinds:
            steps = self.plugin.module_file(self.request(kind))["pipeline"]
            assert any(name in step for step in steps), f"no step '{name}' in the pipeline of kind {kind}"


def check_entry(entry: Entry, *groups: str) -> None:
    """One plugin name with settings that its model accepts, where that plugin is installed."""
    if len(entry) != 1:
        pytest.fail(f"an entry has one key, the name of the plugin: {entry}")
    [(name, settings)] = entry.items()
    TypeAdapter(Ident).validate_python(name)
    for group in groups:
        for found in entry_points(group=group, name=name):
            plugin: type[Plugin[Any]] = found.load()
            plugin.config_model.model_validate(dict(settings))
