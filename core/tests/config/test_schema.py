"""What an editor is told about module.yaml, and what `module add` writes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from safekit.config.compiler import compile_module
from safekit.config.edit import to_yaml
from safekit.config.schema import json_schema
from safekit.config.text import read
from safekit_sdk import Duration

GOOD = """\
kind: mirror
heartbeat: {interval: 200ms}
boot: on
pipeline:
  - drawbridge: {address: 10.0.0.9/24}
  - harbour:
checkers:
  - lighthouse: {port: 80, interval: 1s, action: stopstart}
rules:
  - "r: if (lighthouse.80 == down) then stop"
  - {rule: "s: if (lighthouse.80 == up) then stop", message: x}
"""


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


def schema() -> dict[str, Any]:
    found = json_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def mistakes(text: str) -> list[str]:
    value = read(text.encode(), "f").value
    found = jsonschema.Draft202012Validator(schema()).iter_errors(value)
    return [error.json_path for error in found]


def test_a_file_that_compiles_satisfies_the_schema() -> None:
    compile_module(GOOD, "f", ("n1", "n2"), "web")
    assert mistakes(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("kind: mirror", "kind: mirrow", "$.kind"),
        ("boot: on", "boost: on", "$"),
        ("address:", "adress:", "$.pipeline[0].drawbridge"),
        ("- harbour:", "- harbor:", "$.pipeline[1]"),
        ("interval: 1s", "interval: 1", "$.checkers[0].lighthouse"),
        ("200ms", "soon", "$.heartbeat.interval"),
    ],
)
def test_a_file_that_does_not_compile_breaks_the_schema(old: str, new: str, path: str) -> None:
    with pytest.raises(Exception, match="f:"):
        compile_module(GOOD.replace(old, new), "f", ("n1", "n2"), "web")
    assert mistakes(GOOD.replace(old, new)) == [path]


def test_every_key_is_described() -> None:
    for name, content in schema()["properties"].items():
        assert content.get("description"), name


def test_a_plugins_settings_are_described_in_its_own_words(distributions: Any) -> None:
    found = schema()["$defs"]["checkers.lighthouse"]
    assert found["properties"]["port"]["description"] == "The port that must answer."


def test_two_plugins_may_have_models_of_one_name(distributions: Any) -> None:
    source = """
        from safekit_sdk import Checker, CheckerConfig, Config
        class Inner(Config):
            {field}: int
        class Settings(CheckerConfig):
            inner: Inner
        class Mine(Checker[Settings], api=1): ...
    """
    for name, field in (("one", "alpha"), ("two", "beta")):
        distributions.add(
            f"safekit-checker-{name}", source.replace("{field}", field), {"safekit.checkers": {f"mine-{name}": "Mine"}}
        )
    assert mistakes("kind: farm\ncheckers: [mine-one: {inner: {alpha: 1}}, mine-two: {inner: {beta: 1}}]") == []
    assert mistakes("kind: farm\ncheckers: [mine-one: {inner: {beta: 1}}]") == ["$.checkers[0]['mine-one']"]


def test_a_plugin_that_cannot_be_loaded_does_not_spoil_the_schema(distributions: Any) -> None:
    distributions.add("safekit-checker-sunk", "1 / 0", {"safekit.checkers": {"sunk": "Sunk"}})
    assert mistakes("kind: farm\ncheckers: [sunk: {anything: 1}]") == []
    assert "ZeroDivisionError" in schema()["properties"]["checkers"]["items"]["properties"]["sunk"]["description"]


CONTENT = {
    "rules": ["r: if (lighthouse.quay == down) then stop"],
    "pipeline": [{"drawbridge": {"address": "10.0.0.9/24"}}, {"harbour": {}}],
    "kind": "farm",
    "checkers": [{"lighthouse": {"name": "quay", "port": 80, "interval": Duration(1), "host": "%HOST%"}}],
    "variables": {"HOST": "yes", "NUMBER": "012", "EMPTY": ""},
}


def test_a_written_file_has_a_comment_for_each_key() -> None:
    assert to_yaml({"kind": "farm", "heartbeat": {"interval": "200ms"}, "pipeline": [{"harbour": {}}]}) == (
        "# Change this file, see what that would do with `safekit plan`, then `safekit apply`.\n"
        "\n"
        "# mirror: one of two nodes runs it; farm: all nodes share the load; light: each node for itself.\n"
        "kind: farm\n"
        "\n"
        "# How soon a lost node is noticed.\n"
        "heartbeat: {interval: 200ms}\n"
        "\n"
        "# Resources and the application, in start order, each as `plugin: {settings}`; stopped in reverse.\n"
        "pipeline:\n"
        "  - harbour: {}\n"
    )


def test_a_written_file_reads_as_the_same_values() -> None:
    lighthouse = {"name": "quay", "port": 80, "interval": "1s", "host": "%HOST%"}
    assert read(to_yaml(CONTENT).encode(), "f").value == {**CONTENT, "checkers": [{"lighthouse": lighthouse}]}


def test_a_written_file_compiles() -> None:
    module = compile_module(to_yaml(CONTENT), "f", ("n1", "n2"), "web")
    assert [step.resource for step in module.steps] == ["drawbridge.10.0.0.9", "harbour.default"]


def test_keys_come_in_one_order() -> None:
    text = to_yaml(CONTENT)
    keys = [line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert keys == ["kind", "variables", "pipeline", "checkers", "rules"]


def test_a_plugin_is_introduced_by_its_summary(distributions: Any) -> None:
    distributions.add("safekit-pier", "", {"safekit.apps": {"pier": "X"}}, headers="Summary: Where ships lie")
    assert "  # Where ships lie\n  - pier: {}\n" in to_yaml(
        {"kind": "farm", "pipeline": [{"harbour": {}}, {"pier": {}}]}
    )
