"""The plugin contract: configuration models, the API version, what a class says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safekit_sdk import (
    API_VERSION,
    AppConfig,
    Checker,
    CheckerConfig,
    Config,
    Context,
    Duration,
    Examination,
    ModuleKind,
    Plugin,
    PluginError,
    Resource,
    ResourceConfig,
    Verdict,
    WitnessConfig,
    check_api,
)
from safekit_sdk.hooks import hookimpl, hookspec

BASES: list[type[Config]] = [CheckerConfig, ResourceConfig, AppConfig, WitnessConfig]


class PageConfig(CheckerConfig):
    url: str
    """The page."""


class PageChecker(Checker[PageConfig], api=1):
    """Up while the page is there."""

    async def check(self) -> Verdict:
        return Verdict.up()


class Silent(Checker[PageConfig]):
    pass


class Old(Checker[PageConfig], api=API_VERSION - 1 or -1):
    pass


class New(Checker[PageConfig], api=API_VERSION + 1):
    pass


# -- configuration


@pytest.mark.parametrize("model", BASES)
def test_every_setting_that_plugins_share_is_documented(model: type[Config]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("model", BASES)
def test_an_unknown_setting_is_refused_by_its_name(model: type[Config]) -> None:
    with pytest.raises(ValidationError, match=r"intervall\s+Extra inputs are not permitted"):
        model.model_validate({"intervall": "1s"})


def test_a_configuration_does_not_change_after_reading() -> None:
    config = PageConfig(url="http://a/")
    with pytest.raises(ValidationError, match="frozen"):
        config.url = "http://b/"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"), [("rise", 0), ("fall", 0), ("rise", 101), ("interval", 5), ("action", "explode")]
)
def test_a_setting_out_of_bounds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        CheckerConfig.model_validate({name: value})


@pytest.mark.parametrize("model", BASES)
def test_the_schema_is_plain_json_with_a_description_of_each_setting(model: type[Config]) -> None:
    schema = json.loads(json.dumps(model.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert all(entry["description"] for entry in schema["properties"].values())


def test_a_silence_is_told_before_the_host_ends_the_check() -> None:
    assert CheckerConfig(timeout=Duration(10)).patience_s == 9


# -- classes


def test_a_class_knows_the_model_that_it_was_declared_with() -> None:
    assert PageChecker.config_model is PageConfig

    class Heir(PageChecker):
        pass

    assert Heir.config_model is PageConfig
    assert Heir.api == 1


def test_a_class_says_whether_it_checks_or_watches() -> None:
    class Watcher(Checker[PageConfig], api=1):
        async def watch(self) -> AsyncIterator[Verdict]:
            yield Verdict.up()

    assert (PageChecker.checks(), PageChecker.watches()) == (True, False)
    assert (Watcher.checks(), Watcher.watches()) == (False, True)


def test_a_name_in_the_configuration_is_the_identifier() -> None:
    assert PageChecker.ident(PageConfig(url="x")) == "default"
    assert PageChecker.ident(PageConfig(url="x", name="home")) == "home"


@pytest.mark.parametrize(
    ("kind", "when", "scopes"),
    [
        ("mirror", None, ("prim",)),
        ("mirror", "both", ("both",)),
        ("mirror", "pre", ("pre",)),
        ("farm", None, ("both",)),
        ("farm", "prim", ("both",)),
        ("farm", "pre", ("pre",)),
        ("light", None, ("both",)),
    ],
)
def test_a_resource_has_one_instance_where_its_module_runs(kind: Any, when: Any, scopes: Any) -> None:
    assert Resource.scopes(ResourceConfig(when=when), kind) == scopes


def test_what_lacks_on_a_machine_is_examined_unless_a_class_says_more(tmp_path: Path) -> None:
    class Wanting(PageChecker):
        @classmethod
        def preflight(cls, config: PageConfig, kind: ModuleKind) -> list[str]:
            return [f"{config.url} is not there, for a {kind}"]

    context = Context("web", "farm", "node1", "page", state_dir=tmp_path)
    assert Wanting.examine(PageConfig(url="x"), context, ()) == Examination(("x is not there, for a farm",))
    assert PageChecker.examine(PageConfig(url="x"), context, ()) == Examination()


# -- the API version


def test_a_class_written_for_this_sdk_is_accepted() -> None:
    check_api(PageChecker, "page")


@pytest.mark.parametrize(
    ("plugin", "what", "to_do"),
    [
        (
            Silent,
            "plugin 'page' does not say which SDK it was written for",
            "its author adds api=1 to `class Silent(…)`",
        ),
        (Old, "plugin 'page' was written for SDK API -1; this node has 1", "upgrade the plugin's package"),
        (New, "plugin 'page' was written for SDK API 2; this node has 1", "upgrade safekit-sdk and safekit"),
    ],
)
def test_a_class_for_another_sdk_is_refused_by_name_with_what_to_do(
    plugin: type[Plugin[Any]], what: str, to_do: str
) -> None:
    with pytest.raises(PluginError) as refusal:
        check_api(plugin, "page")
    assert refusal.value.message == what
    assert to_do in refusal.value.hint
    assert str(refusal.value) == f"{what}\n  to do: {refusal.value.hint}"


def test_every_hook_is_documented() -> None:
    from safekit_sdk import hooks

    specs = [value for value in vars(hooks).values() if hasattr(value, "safekit_spec")]
    assert len(specs) == 5
    assert all(spec.__doc__ for spec in specs)
    assert hookspec.project_name == hookimpl.project_name == "safekit"


# -- the import

_IMPORT = """
import json, sys, time
before_s = time.process_time()
__import__(sys.argv[1])
print(json.dumps([time.process_time() - before_s, sorted(sys.modules)]))
"""


def imported(name: str) -> tuple[float, set[str]]:
    """What importing it costs in processor time, and which modules it brings."""
    done = subprocess.run([sys.executable, "-c", _IMPORT, name], capture_output=True, text=True, timeout=60, check=True)
    cpu_s, modules = json.loads(done.stdout)
    return cpu_s, set(modules)


@pytest.mark.parametrize(
    "name",
    ["safekit_sdk", "safekit_sdk.process", "safekit_sdk.hysteresis", "safekit_sdk.scaffold", "safekit_sdk.testing"],
)
def test_importing_the_sdk_brings_nothing_of_ours_and_no_test_tool(name: str) -> None:
    cpu_s, modules = imported(name)
    tops = {module.partition(".")[0] for module in modules}
    assert {top for top in tops if top.startswith("safekit")} == {"safekit_sdk"}
    assert not tops & {"pytest", "_pytest", "pytest_asyncio", "hypothesis"}
    assert cpu_s < 2.0, "the SDK is in every process of a node: its import is light"


def test_a_plugin_does_not_load_the_test_kit() -> None:
    assert not {module for module in imported("safekit_sdk")[1] if module.startswith("safekit_sdk.testing")}
