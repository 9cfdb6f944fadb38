"""Mistakes in entries, nodes and rules of a module file."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.errors import ConfigErrors
from safekit_sdk import PluginError

from .kit import FILE, compiled, mistakes, told


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


class TestMistakesOfEntries:
    def test_a_plugin_that_is_not_installed(self) -> None:
        [mistake] = mistakes("kind: farm\ncheckers:\n  - qqqq: {}\n")
        assert mistake.startswith(f"{FILE}:3:5: there is no checker 'qqqq' on this node\n  to do: ")
        assert "`pip install safekit-checker-qqqq`" in mistake

    def test_a_plugin_without_a_mapping(self) -> None:
        assert mistakes("kind: farm\npipeline:\n  - harbour\n") == [
            told("3:5", "'harbour' is not a mapping", "write `- harbour: {}`")
        ]

    def test_settings_that_are_not_indented_enough(self) -> None:
        assert mistakes("kind: farm\npipeline:\n  - drawbridge:\n    address: 10.0.0.9/24\n") == [
            told(
                "4:5",
                "one entry is one plugin, but here are 'drawbridge', 'address'",
                "indent the settings of 'drawbridge' further, or begin a new entry with '-'",
            )
        ]

    def test_settings_that_are_no_mapping(self) -> None:
        assert mistakes("kind: farm\npipeline:\n  - drawbridge: 10.0.0.9\n") == [
            told("3:17", "must be a mapping of keys to values, not '10.0.0.9'")
        ]

    def test_an_unknown_setting_of_a_plugin(self) -> None:
        assert mistakes("kind: farm\npipeline:\n  - drawbridge: {adress: x, address: y}\n") == [
            told("3:18", "unknown key 'adress'", "did you mean 'address'?")
        ]

    def test_a_duplicate_address(self) -> None:
        text = (
            "kind: mirror\npipeline:\n  - drawbridge: {address: 10.0.0.9/24}\n  - drawbridge: {address: 10.0.0.9/16}\n"
        )
        assert mistakes(text) == [
            told(
                "4:5",
                f"'drawbridge.10.0.0.9' is here twice; first at {FILE}:3:5",
                "remove one, or give one another `name:`",
            )
        ]

    def test_a_duplicate_checker(self) -> None:
        text = "kind: farm\ncheckers:\n  - lighthouse: {port: 80}\n  - lighthouse: {name: '80', port: 81}\n"
        assert mistakes(text) == [
            told(
                "4:5", f"'lighthouse.80' is here twice; first at {FILE}:3:5", "remove one, or give one another `name:`"
            )
        ]

    def test_a_plugin_for_another_sdk(self, distributions: Any) -> None:
        source = "from safekit_sdk import Checker, CheckerConfig\nclass New(Checker[CheckerConfig], api=2): ..."
        distributions.add("safekit-checker-newer", source, {"safekit.checkers": {"newer": "New"}})
        assert mistakes("kind: farm\ncheckers:\n  - newer: {}\n") == [
            told(
                "3:5",
                "plugin 'newer' was written for SDK API 2; this node has 1 (package safekit-checker-newer 1.0)",
                "upgrade safekit-sdk and safekit",
            )
        ]

    def test_a_plugin_that_raises_when_it_is_imported(self, distributions: Any) -> None:
        distributions.add("safekit-checker-sunk", "\n1 / 0", {"safekit.checkers": {"sunk": "Sunk"}})
        path = distributions.site / "safekit_checker_sunk.py"
        assert mistakes("kind: farm\ncheckers:\n  - sunk: {}\n") == [
            told(
                "3:5",
                "the checker 'sunk' (package safekit-checker-sunk 1.0) cannot be loaded: "
                f"ZeroDivisionError: division by zero (at {path}:2)",
                "`pip install --upgrade safekit-checker-sunk`; if it stays, tell the author of safekit-checker-sunk",
            )
        ]

    def test_a_name_of_a_resource_and_of_an_app(self, distributions: Any) -> None:
        distributions.add("safekit-drawbridge", "", {"safekit.apps": {"drawbridge": "X"}})
        assert mistakes("kind: farm\npipeline:\n  - drawbridge: {address: a}\n") == [
            told(
                "3:5",
                "'drawbridge' is a resource of safekit-resource-drawbridge and an app of safekit-drawbridge",
                "remove one: pip uninstall safekit-drawbridge",
            )
        ]

    def test_an_identifier_that_rules_could_not_name(self) -> None:
        assert mistakes("kind: farm\npipeline:\n  - drawbridge: {address: 'a b'}\n") == [
            told(
                "3:5",
                "'a b' cannot be the name of a resource",
                "give it one with `name:`: letters, digits, _ . : -, at most 63",
            )
        ]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("@classmethod\n    def ident(cls, config): raise OSError('lost')", "its identifier cannot be had"),
        ("@classmethod\n    def scopes(cls, config, kind): raise OSError('lost')", "its scopes cannot be had"),
        ("def checkers(self): raise OSError('lost')", "its checkers or rules cannot be had"),
        ("def __init__(self, config, context): raise OSError('lost')", "its checkers or rules cannot be had"),
    ],
)
def test_a_plugin_that_raises_when_it_is_asked_is_named(distributions: Any, body: str, what: str) -> None:
    leaks(distributions, f"class Leaky(App[AppConfig], api=1):\n    {body}\n", what)


def test_a_model_that_raises_something_of_its_own_is_named(distributions: Any) -> None:
    source = (
        "from pydantic import model_validator\nclass Broken(AppConfig):\n    @model_validator(mode='after')\n"
        "    def look(self): raise OSError('lost')\nclass Leaky(App[Broken], api=1): ...\n"
    )
    leaks(distributions, source, "its settings cannot be checked")


def leaks(distributions: Any, source: str, what: str) -> None:
    distributions.add(
        "safekit-leaky", f"from safekit_sdk import App, AppConfig\n{source}", {"safekit.apps": {"leaky": "Leaky"}}
    )
    with pytest.raises(ConfigErrors) as caught:
        compiled("kind: farm\npipeline:\n  - leaky: {}\n")
    [error] = caught.value.errors
    assert isinstance(error, PluginError)
    assert str(error) == told(
        "3:5",
        f"plugin 'leaky' (package safekit-leaky 1.0): {what}: OSError: lost",
        "tell the author of safekit-leaky",
    )


@pytest.mark.parametrize(
    ("checkers", "rules", "message"),
    [
        ("({'qqqq': {}},)", "()", "the app 'leaky' brings a checker that cannot be used: there is no checker 'qqqq'"),
        (
            "({'lighthouse': {}},)",
            "()",
            "the app 'leaky' brings a checker that cannot be used: the key 'port' is missing",
        ),
        ("()", "('nonsense',)", "expected a label with ':' after it, found 'nonsense'"),
        ("()", "('r: if (a.b == up) then stop',)", "there is no checker or resource 'a.b'"),
    ],
)
def test_what_an_app_brings_is_checked_too(distributions: Any, checkers: str, rules: str, message: str) -> None:
    source = (
        "from safekit_sdk import App, AppConfig\nclass Leaky(App[AppConfig], api=1):\n"
        f"    def checkers(self): return {checkers}\n    def rules(self): return {rules}\n"
    )
    distributions.add("safekit-leaky", source, {"safekit.apps": {"leaky": "Leaky"}})
    [mistake] = mistakes("kind: farm\npipeline:\n  - leaky: {}\n")
    assert mistake.startswith(f"{FILE}:3:5: {message}")


class TestMistakesOfNodes:
    def test_a_mirror_of_a_larger_cluster_must_choose(self) -> None:
        assert mistakes("kind: mirror\n", ("a", "b", "c")) == [
            told("1:7", "a mirror has one or two nodes, not 3", "choose them: nodes: [a, b]")
        ]

    def test_a_mirror_of_three(self) -> None:
        assert mistakes("kind: mirror\nnodes: [a, b, c]\n", ("a", "b", "c")) == [
            told("2:8", "a mirror has one or two nodes, not 3", "choose them: nodes: [a, b]")
        ]

    def test_a_node_that_is_none_and_one_that_is_there_twice(self) -> None:
        assert mistakes("kind: farm\nnodes: [node1, nod2, node1]\n", ("node1", "node2")) == [
            told("2:16", "there is no node 'nod2' in the cluster", "did you mean 'node2'?"),
            told("2:22", "node 'node1' is here twice", "remove one"),
        ]

    def test_a_default_primary_that_is_elsewhere(self) -> None:
        assert mistakes("kind: mirror\nnodes: [n1]\ndefault_primary: n2\n") == [
            told("3:18", "'n2' is no node of this module", "its nodes: n1")
        ]

    def test_what_only_a_mirror_has(self) -> None:
        assert mistakes("kind: farm\nisolation: safety\ndefault_primary: n1\n") == [
            told("2:1", "only a mirror has 'isolation'", "remove it"),
            told("3:1", "only a mirror has 'default_primary'", "remove it"),
        ]


def with_rule(rule: str, kind: str = "mirror") -> str:
    return f"kind: {kind}\ncheckers:\n  - lighthouse: {{port: 80}}\nrules:\n  - '{rule}'\n"


class TestMistakesOfRules:
    def test_an_unknown_action(self) -> None:
        assert mistakes(with_rule("r: if (lighthouse.80 == down) then restat")) == [
            told("5:41", "unknown action 'restat'", "did you mean 'restart'?")
        ]

    def test_a_checker_that_does_not_exist(self) -> None:
        assert mistakes(with_rule("r: if (lighthouse.8 == down) then stop")) == [
            told("5:13", "there is no checker or resource 'lighthouse.8'", "did you mean 'lighthouse.80'?")
        ]

    def test_a_checker_whose_name_begins_like_another(self) -> None:
        rule = "r: if (lighthouse.80 == down || local.lighthouse.8 == down) then stop"
        assert mistakes(with_rule(rule))[0].startswith(f"{FILE}:5:38: there is no checker or resource 'lighthouse.8'")

    def test_a_class_that_does_not_exist(self) -> None:
        assert mistakes(with_rule("r: if (zzz.* == down) then stop")) == [
            told("5:13", "there is no checker or resource 'zzz.*'", "there are: lighthouse.80")
        ]

    def test_values_that_operators_set_need_no_checker(self) -> None:
        assert compiled(with_rule("r: if (custom.anything == down) then stop")).rules[-1].label == "r"

    def test_every_one_of_a_class(self) -> None:
        assert compiled(with_rule("r: if (lighthouse.? == down) then stop")).rules[-1].label == "r"

    def test_two_of_one_label(self) -> None:
        text = with_rule("r: if (lighthouse.80 == down) then stop") + "  - 'r: if (lighthouse.80 == up) then stop'\n"
        assert mistakes(text) == [told("6:6", "a second rule 'r'", "rename one")]

    @pytest.mark.parametrize("kind", ["farm", "light"])
    def test_a_swap_without_a_mirror(self, kind: str) -> None:
        assert mistakes(with_rule("r: if (lighthouse.80 == down) then swap", kind)) == [
            told("5:41", "rule swap: only a mirror can swap", "restart, stopstart, stop or wait")
        ]

    def test_an_action_swap_without_a_mirror(self) -> None:
        assert mistakes("kind: farm\ncheckers:\n  - lighthouse: {port: 80, action: swap}\n") == [
            told("3:5", "action swap: only a mirror can swap", "restart, stopstart, stop or wait")
        ]

    def test_the_other_node_of_a_farm(self) -> None:
        assert mistakes(with_rule("r: if (remote.lighthouse.80 == down) then stop", "farm")) == [
            told(
                "5:13",
                "'remote.lighthouse.80': only a mirror has one other node",
                "a rule of a farm or light module looks at its own node: leave out `remote.`",
            )
        ]

    def test_a_wait_that_would_never_end(self) -> None:
        assert mistakes(with_rule("r: if (lighthouse.80 == down) then wait")) == [
            told(
                "5:13",
                "'wait' on 'lighthouse.80', which is not checked while the module waits: it would never start",
                "add `when: pre` to 'lighthouse.80', or take another action",
            )
        ]

    def test_an_action_wait_that_would_never_end(self) -> None:
        [mistake] = mistakes("kind: farm\ncheckers:\n  - lighthouse: {port: 80, action: wait}\n")
        assert mistake.startswith(f"{FILE}:3:5: 'wait' on 'lighthouse.80'")

    def test_a_wait_on_what_is_checked_before_the_start(self) -> None:
        text = "kind: farm\ncheckers:\n  - lighthouse: {port: 80, action: wait, when: pre}\n"
        assert [rule.action for rule in compiled(text).rules] == ["wait"]

    def test_a_rule_that_is_no_text(self) -> None:
        [mistake] = mistakes("kind: farm\nrules: [3]\n")
        assert mistake.startswith(f"{FILE}:2:9: rules[0]: must be text, not '3'")
