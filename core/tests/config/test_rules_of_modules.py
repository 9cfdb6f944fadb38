"""The rules of a module: written, named, brought by apps, replaced and disabled; and what they are tried with."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.plan import Impact, diff
from safekit.config.supposing import local_in, parse_settings, remote_of, suppose
from safekit.engine.reports import ModuleState
from safekit.engine.rules import Named
from safekit_sdk import ConfigError

from .kit import FILE, compiled, mistakes, told

HEAD = """kind: mirror
checkers:
  - lighthouse: {name: a, port: 80, when: pre, action: restart}
  - lighthouse: {name: b, port: 81, action: none}
"""


DOCK = """
    from safekit_sdk import App, AppConfig, ResourceState, Status

    class Dock(App[AppConfig], api=1):
        async def start(self): ...
        async def stop(self, force): ...
        async def status(self):
            return Status(ResourceState.STOPPED)

        def rules(self):
            return ("lighthouse_a: if (lighthouse.a == down) for 30s then stop;",)
"""


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


def rules_of(module: CompiledModule) -> dict[str, str]:
    return {rule.label: rule.text for rule in module.rules}


class TestConditions:
    def test_a_condition_is_used_by_its_name(self) -> None:
        text = "conditions: {dark: '2 of (lighthouse.*) == down', calm: '!dark'}\nrules: ['r: if (calm) then stop']\n"
        module = compiled(HEAD + text)
        assert module.conditions == {"dark": "2 of (lighthouse.*) == down", "calm": "!dark"}
        assert rules_of(module)["r"] == "r: if (calm) then stop;"
        condition = module.to_spec("n1").rules[-1].condition
        assert isinstance(condition, Named)
        assert condition.name == "calm"
        assert module.warnings == (f"{FILE}: the pipeline is empty: nothing is started",)

    def test_a_mistake_in_a_condition_has_its_place(self) -> None:
        text = "conditions:\n  dark: 'lighthouse.a = down'\n  calm: 'lighthouse.c == up'\n"
        assert mistakes(HEAD + text) == [
            told(
                "6:23",
                "expected '==' or '!=', found '='",
                "a condition reads: class.name == down && class.* != up",
            ),
            told("7:10", "there is no checker or resource 'lighthouse.c'", "did you mean 'lighthouse.b'?"),
        ]

    def test_a_condition_uses_those_above_it_only(self) -> None:
        text = "conditions: {calm: '!dark', dark: 'lighthouse.a == down'}\n"
        assert mistakes(HEAD + text) == [
            told("5:22", "there is no condition 'dark'", "write dark.name == down, or name a condition")
        ]

    def test_a_condition_that_nothing_uses_is_told(self) -> None:
        warnings = compiled(HEAD + "conditions: {dark: 'lighthouse.a == down'}\n").warnings
        assert warnings[-1] == f"{FILE}:5:21: no rule uses the condition 'dark'"

    def test_a_change_of_a_condition_is_a_change_of_the_module(self) -> None:
        text = HEAD + "conditions: {dark: 'lighthouse.a == down'}\nrules: ['r: if (dark) then stop']\n"
        before, after = compiled(text), compiled(text.replace("== down'}", "== unknown'}"))
        assert before.signature != after.signature
        [change] = diff(before, after).changes
        assert (change.what, change.impact) == ("conditions", Impact.LIVE)


class TestCounts:
    def test_more_than_there_are_is_a_mistake(self) -> None:
        assert mistakes(HEAD + "rules: ['r: if (3 of (lighthouse.*) == down) then stop']\n") == [
            told("5:23", "3 of (lighthouse.*): there are only 2 of them")
        ]

    def test_what_operators_set_may_be_any_number(self) -> None:
        assert compiled(HEAD + "rules: ['r: if (3 of (custom.*) == down) then stop']\n").rules


class TestLabels:
    def test_a_rule_that_takes_the_place_of_another_says_so(self) -> None:
        module = compiled(HEAD + "rules: ['lighthouse_a: if (lighthouse.a == down) for 5s then stop']\n")
        [rule] = module.rules
        assert (rule.origin, rule.replaces) == (f"{FILE}:5:9", f"{FILE}:3:5 action: restart")

    def test_a_disabled_rule_is_listed_and_does_nothing(self) -> None:
        module = compiled(HEAD + "disabled_rules: [lighthouse_a]\n")
        assert [(rule.label, rule.enabled) for rule in module.rules] == [("lighthouse_a", False)]
        assert module.to_spec("n1").rules == ()

    def test_a_disabled_rule_that_there_is_not(self) -> None:
        assert mistakes(HEAD + "disabled_rules: [lighthouse_b]\n") == [
            told("5:18", "there is no rule 'lighthouse_b'", "did you mean 'lighthouse_a'?")
        ]

    def test_a_rule_of_an_app_can_be_disabled(self) -> None:
        module = compiled("kind: mirror\npipeline: [harbour: {}]\ndisabled_rules: [harbour_slow]\n")
        assert {rule.label: rule.enabled for rule in module.rules} == {"lighthouse_quay": True, "harbour_slow": False}

    def test_a_rule_of_an_app_that_takes_the_place_of_another_is_told(self, distributions: Any) -> None:
        """Nobody wrote it in order to do that."""
        distributions.add("safekit-dock", DOCK, {"safekit.apps": {"dock": "Dock"}})
        module = compiled(HEAD + "pipeline: [dock: {}]\n")
        [rule] = module.rules
        assert (rule.origin, rule.replaces) == ("app 'dock'", f"{FILE}:3:5 action: restart")
        assert module.warnings == (
            f"{FILE}:5:12: the rule 'lighthouse_a' takes the place of that of {FILE}:3:5 action: restart",
        )

    def test_where_a_rule_came_from_makes_no_difference_at_run_time(self) -> None:
        text = HEAD + "rules: ['lighthouse_a: if (lighthouse.a == down) then stop']\n"
        assert compiled(text).signature == compiled(f"# a line\n{text}").signature

    def test_handle_time_and_messages_reach_the_engine(self) -> None:
        text = HEAD + "handle_time: 15s\nrules: [{rule: 'r: if (lighthouse.a == up) then stop', message: told}]\n"
        spec = compiled(text).to_spec("n1")
        assert spec.handle_time_s == 15.0
        assert spec.rules[-1].message == "told"


class TestSupposing:
    @pytest.fixture
    def module(self) -> CompiledModule:
        rules = "rules: ['r: if (remote.lighthouse.a == up && custom.x == up && custom.? == down) then swap']\n"
        return compiled(HEAD + rules)

    def test_what_is_given_goes_before_what_is_there(self, module: CompiledModule) -> None:
        supposed = suppose(module, {"lighthouse.a": "down"}, {"lighthouse.b": "unknown", "custom.x": "init"}, {})
        assert {name: (one.value, one.source) for name, one in supposed.items()} == {
            "lighthouse.a": ("down", "given"),
            "lighthouse.b": ("unknown", "now"),
            "custom.x": ("unknown", "supposed"),
            "remote.lighthouse.a": ("unknown", "supposed"),
        }
        assert remote_of(supposed) == {"lighthouse.a": "unknown"}

    def test_a_checker_says_nothing_in_a_state_in_which_it_does_not_run(self, module: CompiledModule) -> None:
        supposed = suppose(module, {"lighthouse.b": "down"}, {}, {})
        assert local_in(ModuleState.PRIM, module, supposed)["lighthouse.b"] == "down"
        assert local_in(ModuleState.SECOND, module, supposed)["lighthouse.b"] == "init"
        assert local_in(ModuleState.WAIT, module, supposed)["lighthouse.a"] == "up"

    def test_settings_are_read(self, module: CompiledModule) -> None:
        texts = ("local.lighthouse.a=down", "remote.lighthouse.a=up", "custom.any=unknown")
        expected = {"lighthouse.a": "down", "remote.lighthouse.a": "up", "custom.any": "unknown"}
        assert parse_settings(texts, module) == expected

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("lighthouse.a", "a value is missing", "--set lighthouse.a=down"),
            ("lighthouse.a=dwn", "unknown value 'dwn'", "did you mean 'down'?"),
            ("lighthouse.aa=down", "there is no 'lighthouse.aa' here", "did you mean 'lighthouse.a'?"),
            ("remote.custom.x=up", "there is no 'remote.custom.x' here", "did you mean 'custom.x'?"),
        ],
    )
    def test_a_setting_that_is_none(self, module: CompiledModule, text: str, message: str, hint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_settings([text], module)
        assert (caught.value.where, caught.value.message, caught.value.hint) == (f"--set {text}", message, hint)
