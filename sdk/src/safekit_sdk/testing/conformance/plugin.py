"""What holds for every plugin: its class, its configuration model, its package."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from safekit_sdk.plugin import MAX_REMARK_CHARS, MAX_REMARKS, Context, ModuleKind, Plugin, check_api
from safekit_sdk.testing.context import RecordingContext, a_context
from safekit_sdk.units import Ident

IMPORT_CPU_S = 3.0
"""What importing a plugin may cost, in time of the processor."""
_TIME_WORDS = re.compile(r"(^|_)(timeout|interval|delay|period|after|every|age|grace|ttl|duration|seconds|sec|ms)($|_)")
_PLUGIN_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IMPORTING = """
import json, sys, time
import safekit_sdk
before_s = time.process_time()
__import__(sys.argv[1])
print(json.dumps({"cpu_s": time.process_time() - before_s, "modules": sorted(sys.modules)}))
"""


@pytest.mark.usefixtures("within")
class PluginConformance:
    """The part that all suites share. A subclass gives `plugin` and `good_config`, or the fixture `settings`."""

    plugin: ClassVar[type[Plugin[Any]]]
    good_config: ClassVar[Mapping[str, Any]] = {}
    """Settings as an operator would write them, with which the plugin works on this machine."""
    group: ClassVar[str]
    kind: ClassVar[ModuleKind] = "mirror"
    may_need_plugins: ClassVar[bool] = False
    """Whether its distribution may bring those of other plugins, which it never imports."""

    @property
    def runner_prefix(self) -> list[str]:
        """An argument list put before those of the processes that the suite starts: `["ip", "netns", "exec", NAME]`.
        It has to become the process that it starts, as that one does."""
        return []

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Surrounds what the suite does in its own process, to run it in a network namespace."""
        yield

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        """Override it where a good configuration needs something made for each test."""
        return self.good_config

    @pytest.fixture
    def config(self, settings: Mapping[str, Any]) -> Any:
        return self.plugin.config_model.model_validate(settings)

    @pytest.fixture
    def context(self, tmp_path: Path, config: Any) -> RecordingContext:
        return a_context(tmp_path, kind=self.kind, name=self.plugin.ident(config))

    @pytest.fixture
    def within(self, settings: Mapping[str, Any]) -> Iterator[None]:  # noqa: ARG002 - made before it is entered
        """The test runs inside the surroundings."""
        with self.inside():
            yield

    def made(self, config: Any, context: Context) -> Any:
        """A new instance, as a host makes it."""
        return self.plugin(config, context)

    # -- the class

    def test_the_class_is_written_for_this_sdk_and_says_what_it_is(self) -> None:
        check_api(self.plugin, self.plugin.__name__)
        assert (self.plugin.__doc__ or "").strip(), f"{self.plugin.__name__} has no docstring; it is shown to operators"

    def test_the_identifier_can_be_used_in_rules(self, config: Any) -> None:
        ident = self.plugin.ident(config)
        TypeAdapter(Ident).validate_python(ident)
        named = config.model_copy(update={"name": "a-name"})
        assert self.plugin.ident(named) == "a-name", "a name that the operator gives is the identifier"

    def test_a_machine_on_which_it_works_has_nothing_to_object_to(self, config: Any) -> None:
        assert self.plugin.preflight(config, self.kind) == []

    def test_what_it_notes_of_a_machine_is_a_few_short_sentences(self, config: Any, context: RecordingContext) -> None:
        found = self.plugin.examine(config, context, ())
        assert found.findings == (), "a machine on which it works has nothing to object to"
        assert len(found.notes) <= MAX_REMARKS
        assert all(0 < len(note) <= MAX_REMARK_CHARS for note in found.notes)

    def test_its_remarks_are_a_few_short_sentences(self, config: Any) -> None:
        remarks = self.plugin.remarks(config, self.kind)
        assert len(remarks) <= MAX_REMARKS
        assert all(0 < len(remark) <= MAX_REMARK_CHARS for remark in remarks)

    # -- the configuration model

    def test_an_unknown_setting_is_refused(self, settings: Mapping[str, Any]) -> None:
        with pytest.raises(ValidationError, match=r"extra_forbidden"):
            self.plugin.config_model.model_validate({**settings, "no_such_setting": 1})

    def test_every_setting_is_documented(self) -> None:
        missing = [name for name, field in self.plugin.config_model.model_fields.items() if not field.description]
        assert not missing, f"write a docstring below these fields of {self._model_name()}: {', '.join(missing)}"

    def test_times_are_durations_with_units(self) -> None:
        wrong = [name for name, field in self.plugin.config_model.model_fields.items() if _is_bare_time(name, field)]
        assert not wrong, f"these are plain numbers; use safekit_sdk.Duration: {', '.join(wrong)}"

    def test_the_schema_can_be_exported(self) -> None:
        schema = self.plugin.config_model.model_json_schema()
        assert json.loads(json.dumps(schema)) == schema
        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) == set(self.plugin.config_model.model_fields)

    def test_a_configuration_survives_being_written_and_read_again(self, config: Any) -> None:
        written = config.model_dump_json(exclude_unset=True)
        assert self.plugin.config_model.model_validate_json(written) == config, written
        parsed = json.loads(written)  # what a YAML reader gives as well
        assert self.plugin.config_model.model_validate(parsed) == config, parsed

    def test_a_configuration_does_not_change(self, config: Any) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            config.name = "other"

    def _model_name(self) -> str:
        return self.plugin.config_model.__name__

    # -- the package

    def test_importing_it_is_quick_and_brings_nothing_of_ours_but_the_sdk(self) -> None:
        found = self._import_elsewhere()
        foreign = [name for name in found["modules"] if _is_foreign(name, self._package())]
        assert not foreign, f"importing {self.plugin.__module__} also imports {', '.join(foreign)}"
        assert found["cpu_s"] < IMPORT_CPU_S, "import what is heavy where it is used"

    def _import_elsewhere(self) -> dict[str, Any]:
        argv = [sys.executable, "-c", _IMPORTING, self.plugin.__module__]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _package(self) -> str:
        return self.plugin.__module__.partition(".")[0]

    def test_its_entry_point_leads_to_the_class(self) -> None:
        entry_point, _ = self._entry_point()
        assert _PLUGIN_NAME.fullmatch(entry_point.name), f"'{entry_point.name}' is not lower case words with hyphens"

    def test_its_distribution_has_a_readme_and_needs_the_sdk(self) -> None:
        _, distribution = self._entry_point()
        body = distribution.metadata.get("Description") or distribution.metadata.get_payload()  # type: ignore[attr-defined]
        assert str(body or "").strip(), 'pyproject.toml: readme = "README.md"'
        needs = our_needs(distribution.requires or [])
        assert "safekit-sdk" in needs, 'pyproject.toml: dependencies = ["safekit-sdk"]'
        assert self.may_need_plugins or needs == {"safekit-sdk"}, f"a plugin of this kind stands alone: {needs}"

    def _entry_point(self) -> tuple[EntryPoint, Distribution]:
        """The entry point of this plugin's own package whose object is the class; others are not imported."""
        candidates = [
            (entry_point, distribution)
            for distribution in distributions()
            for entry_point in distribution.entry_points
            if entry_point.group == self.group and entry_point.module.partition(".")[0] == self._package()
        ]
        for entry_point, distribution in candidates:
            if entry_point.load() is self.plugin:
                return entry_point, distribution
        pytest.fail(
            f"no installed distribution has an entry point in '{self.group}' for this class; pyproject.toml:\n"
            f'[project.entry-points."{self.group}"]\nNAME = "{self.plugin.__module__}:{self.plugin.__qualname__}"'
        )


def _is_bare_time(name: str, field: Any) -> bool:
    numbers = {int, float, int | None, float | None}
    return bool(_TIME_WORDS.search(name)) and field.annotation in numbers


def _is_foreign(module: str, own: str) -> bool:
    package = module.partition(".")[0]
    if module.startswith("safekit_sdk.testing"):
        return own != "safekit_sdk"
    return (package == "safekit" or package.startswith("safekit_")) and package not in ("safekit_sdk", own)


def our_needs(requires: Iterable[str]) -> set[str]:
    """Our distributions among the requirements of one, its extras left out."""
    plain = [need for need in requires if "extra ==" not in need]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\s\[(<>=!~;]", need)[0].lower()) for need in plain}
    return {name for name in names if name.partition("-")[0] == "safekit"}


def collect(cls: type, tests: Iterable[str], wanted: bool) -> None:
    """Have these tests of its bases collected from the subclass, or not: pytest passes by what is None."""
    for test in tests:
        if test not in vars(cls):
            inherited = next(found for base in cls.__mro__ if (found := vars(base).get(test)))
            setattr(cls, test, inherited if wanted else None)
