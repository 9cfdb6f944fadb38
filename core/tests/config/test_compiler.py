"""A module file becomes plain data; every mistake is told with its place, its cause and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.compiler import compile_module
from safekit.config.errors import ConfigErrors
from safekit.engine.rules import All, Rule
from safekit.engine.rules import Test as Comparison
from safekit.engine.spec import BootPolicy, IsolationPolicy, Kind, ModuleSpec
from safekit_sdk import Duration, PluginError

NODES = ("n1", "n2")
FILE = "web/module.yaml"


def compiled(text: str, nodes: tuple[str, ...] = NODES) -> CompiledModule:
    return compile_module(text, FILE, nodes, "web")


def mistakes(text: str | bytes, nodes: tuple[str, ...] = NODES) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        compile_module(text, FILE, nodes, "web")
    return [str(error) for error in caught.value.errors]


def told(where: str, message: str, hint: str = "") -> str:
    """One mistake as the operator reads it."""
    return f"{FILE}:{where}: {message}" + (f"\n  to do: {hint}" if hint else "")


FULL = """\
kind: mirror
description: The shop
nodes: [n2, n1]
variables: {PORT: 8080, DEBUG: false}
heartbeat: {interval: 200ms, lost_after: 2s}
isolation: availability
default_primary: n1
boot: on
max_loops: 5
loop_interval: 12h
pipeline:
  - drawbridge: {address: 10.0.0.9/24}
  - harbour:
checkers:
  - lighthouse: {port: "%PORT%", action: stopstart}
rules:
  - "both: if (lighthouse.8080 == down && !(remote.lighthouse.quay != up)) for 5s then swap;"
  - rule: "harbour_slow: if (lighthouse.quay == unknown) then stop"
    message: the shop hangs
"""


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> Any:
    distributions.add_all()
    return distributions


class TestWhatComesOut:
    def test_every_setting_arrives(self) -> None:
        module = compiled(FULL)
        assert (module.name, module.kind, module.description) == ("web", "mirror", "The shop")
        assert module.nodes == ("n2", "n1")
        assert module.variables == {"PORT": "8080", "DEBUG": "false"}
        assert (module.heartbeat.interval, module.heartbeat.lost_after) == (Duration(0.2), Duration(2))
        assert (module.isolation, module.default_primary, module.boot) == ("availability", "n1", "on")
        assert (module.max_loops, module.loop_interval) == (5, Duration(43200))

    def test_steps_keep_their_order_and_all_their_settings(self) -> None:
        bridge, harbour = compiled(FULL).steps
        assert (bridge.resource, bridge.group, bridge.scopes) == ("drawbridge.10.0.0.9", "resource", ("prim",))
        assert (harbour.resource, harbour.group) == ("harbour.default", "app")
        assert bridge.config == {"address": "10.0.0.9/24"}
        assert bridge.effective["start_timeout"] == "20s"
        assert (bridge.restarts, harbour.restarts) == (False, True)

    def test_a_model_that_tells_given_from_default_is_passed_on_as_it_was_given(self, distributions: Any) -> None:
        source = """
            from pydantic import model_validator
            from safekit_sdk import Checker, CheckerConfig
            class Config(CheckerConfig):
                text: str = ""
                binary: str = ""
                @model_validator(mode="after")
                def one(self):
                    if {"text", "binary"} <= self.model_fields_set:
                        raise ValueError("text or binary, not both")
                    return self
            class Either(Checker[Config], api=1): ...
        """
        distributions.add("safekit-checker-either", source, {"safekit.checkers": {"either": "Either"}})
        [checker] = compiled("kind: farm\ncheckers: [either: {text: x}]\n").checkers
        assert (checker.config, checker.effective["binary"]) == ({"text": "x"}, "")
        assert mistakes("kind: farm\ncheckers: [either: {text: x, binary: y}]\n") == [
            told("2:20", "text or binary, not both")
        ]

    def test_a_secret_stays_a_reference(self, distributions: Any) -> None:
        source = """
            from safekit_sdk import Checker, CheckerConfig, Secret
            class Config(CheckerConfig):
                password: Secret
            class Safe(Checker[Config], api=1): ...
        """
        distributions.add("safekit-checker-safe", source, {"safekit.checkers": {"safe": "Safe"}})
        [checker] = compiled("kind: farm\ncheckers: [safe: {password: 'env:PW'}]\n").checkers
        assert checker.config == {"password": "env:PW"}
        assert mistakes("kind: farm\ncheckers: [safe: {password: hunter2}]\n") == [
            told(
                "2:29",
                "password: a secret is given by reference, as env:NAME or file:/path, never in the file itself",
            )
        ]

    def test_an_app_brings_its_checkers_and_rules(self) -> None:
        module = compiled("kind: farm\npipeline: [harbour: {port: 81}]\n")
        [checker] = module.checkers
        assert (checker.resource, checker.scope, checker.config["port"]) == ("lighthouse.quay", "both", 81)
        assert [rule.label for rule in module.rules] == ["lighthouse_quay", "harbour_slow"]
        assert {rule.origin for rule in module.rules} == {"app 'harbour' action: restart", "app 'harbour'"}

    def test_a_checker_of_the_file_replaces_the_apps(self) -> None:
        text = "kind: farm\npipeline: [harbour: {}]\ncheckers:\n  - lighthouse: {name: quay, port: 9, action: none}\n"
        module = compiled(text)
        assert [checker.config["port"] for checker in module.checkers] == [9]
        assert [rule.label for rule in module.rules] == ["harbour_slow"]

    def test_a_rule_of_the_file_replaces_one_of_the_same_label(self) -> None:
        rules = {rule.label: rule for rule in compiled(FULL).rules}
        assert list(rules) == ["lighthouse_quay", "lighthouse_8080", "harbour_slow", "both"]
        assert rules["harbour_slow"].message == "the shop hangs"
        assert rules["harbour_slow"].origin == f"{FILE}:18:11"

    def test_the_action_of_a_checker_becomes_a_rule(self) -> None:
        rule = next(rule for rule in compiled(FULL).rules if rule.label == "lighthouse_8080")
        assert rule.text == "lighthouse_8080: if (lighthouse.8080 == down) then stopstart;"
        assert rule.origin == f"{FILE}:15:5 action: stopstart"

    def test_a_resource_that_does_not_watch_itself_has_no_rule(self) -> None:
        assert compiled("kind: farm\npipeline: [drawbridge: {address: 10.0.0.9/24}]\n").rules == ()

    def test_the_engines_words_are_built_without_the_plugins(self) -> None:
        data = compiled(FULL).model_dump_json()
        spec = CompiledModule.model_validate_json(data).to_spec()
        quay = Comparison("remote", "lighthouse", "quay", "up", negated=True)
        assert isinstance(spec, ModuleSpec)
        assert (spec.name, spec.kind, spec.nodes) == ("web", Kind.MIRROR, ("n2", "n1"))
        assert (spec.isolation, spec.boot) == (IsolationPolicy.AVAILABILITY, BootPolicy.ON)
        assert (spec.default_primary, spec.max_loops, spec.loop_interval_s) == ("n1", 5, 43200.0)
        assert (spec.has_data, spec.signature) == (False, compiled(FULL).signature)
        both = spec.rules[-1]
        assert isinstance(both, Rule)
        assert isinstance(both.condition, All)
        assert both.condition.terms[0] == Comparison("local", "lighthouse", "8080", "down")
        assert quay in [getattr(term, "term", None) for term in both.condition.terms]
        assert both.hold_s == 5.0

    def test_the_bounds_are_the_sums_of_what_the_steps_allow(self) -> None:
        """20 s and 60 s to start; twice 60 s to stop and 30 s by force; 10 s for the host's own work."""
        module = compiled("kind: farm\npipeline: [drawbridge: {address: 10.0.0.9/24}, harbour: {}]\n")
        assert (module.start_bound_s, module.stop_bound_s) == (20 + 60 + 10, 2 * (60 + 30) + 10)

    def test_a_promotable_resource_may_take_its_start_time_twice(self, distributions: Any) -> None:
        source = """
            from safekit_sdk import Resource, ResourceConfig
            class Disk(Resource[ResourceConfig], api=1):
                replicates = True
                publishes = ("rfs.uptodate",)
                async def promote(self): ...
                async def transition(self, change): ...
                @classmethod
                def scopes(cls, config, kind):
                    return ("both",)
        """
        distributions.add("safekit-resource-disk", source, {"safekit.resources": {"pier": "Disk"}})
        module = compiled("kind: mirror\npipeline: [pier: {}]\nrules: ['w: if (rfs.uptodate == down) then wait']\n")
        assert (module.start_bound_s, module.stop_bound_s) == (2 * 60 + 10 + 10, 2 * (60 + 30) + 10 + 10)
        assert module.to_spec().has_data

    def test_the_packages_are_known(self) -> None:
        assert compiled(FULL).packages == {
            "safekit-checker-lighthouse": "1.0",
            "safekit-harbour": "1.0",
            "safekit-resource-drawbridge": "1.0",
        }

    @pytest.mark.parametrize(
        ("kind", "when", "scope"),
        [
            ("mirror", "", "prim"),
            ("mirror", "pre", "pre"),
            ("mirror", "sec", "sec"),
            ("farm", "", "both"),
            ("light", "prim", "both"),
            ("farm", "pre", "pre"),
        ],
    )
    def test_a_checker_runs_in_the_states_of_its_kind(self, kind: str, when: str, scope: str) -> None:
        setting = f", when: {when}" if when else ""
        text = f"kind: {kind}\ncheckers: [lighthouse: {{port: 1{setting}}}]\n"
        assert [checker.scope for checker in compiled(text).checkers] == [scope]

    def test_the_nodes_are_those_of_the_cluster_unless_chosen(self) -> None:
        assert compiled("kind: farm\n", ("a", "b", "c")).nodes == ("a", "b", "c")

    def test_a_percent_sign_is_written_twice(self) -> None:
        text = "kind: farm\nvariables: {A: '%B%'}\ndescription: '100%% of %A%, 5 % more'\n"
        assert compiled(text).description == "100% of %B%, 5 % more"


class TestTheSignature:
    def test_comments_and_layout_make_no_difference(self) -> None:
        spread = FULL.replace("{interval: 200ms, lost_after: 2s}", "\n  lost_after: 2s # soon\n  interval: 200ms")
        assert compiled("# mine\n\n" + spread).signature == compiled(FULL).signature

    def test_the_description_and_a_packages_version_make_no_difference(self, distributions: Any) -> None:
        before = compiled(FULL).signature
        info = distributions.site / "safekit_harbour-1.0.dist-info"
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: safekit-harbour\nVersion: 1.1\n")
        after = compiled(FULL.replace("The shop", "A shop"))
        assert after.packages["safekit-harbour"] == "1.1"
        assert after.signature == before

    @pytest.mark.parametrize(
        ("old", "new"),
        [("10.0.0.9", "10.0.0.8"), ("boot: on", "boot: off"), ("for 5s", "for 6s"), ("[n2, n1]", "[n1, n2]")],
    )
    def test_whatever_acts_makes_a_difference(self, old: str, new: str) -> None:
        assert compiled(FULL.replace(old, new)).signature != compiled(FULL).signature


class TestWarnings:
    def test_an_empty_pipeline(self) -> None:
        assert compiled("kind: farm\n").warnings == (f"{FILE}: the pipeline is empty: nothing is started",)

    def test_a_rule_on_what_never_speaks(self) -> None:
        text = (
            "kind: farm\npipeline: [drawbridge: {address: 10.0.0.9/24}]\n"
            "rules: ['r: if (drawbridge.10.0.0.9 == down) then stop']\n"
        )
        assert compiled(text).warnings == (
            f"{FILE}:3:17: 'drawbridge.10.0.0.9' does not watch itself: it is never 'down' by itself",
        )

    def test_a_rule_on_what_the_other_node_never_tells(self) -> None:
        """The engine takes it for `unknown`; a rule with `!=` would always act."""
        assert compiled(FULL).warnings == (
            f"{FILE}:17:45: 'remote.lighthouse.quay' is always 'unknown': "
            "nodes do not tell each other their resources' values",
        )


class TestMistakesOfTheFile:
    def test_an_unknown_key_and_the_one_that_was_meant(self) -> None:
        assert mistakes("kind: farm\npipelines: []\n") == [
            told("2:1", "unknown key 'pipelines'", "did you mean 'pipeline'?")
        ]

    def test_an_unknown_key_that_is_like_none_lists_the_keys(self) -> None:
        assert mistakes("kind: farm\nheartbeat: {zzz: 1s}\n") == [
            told("2:13", "unknown key 'zzz'", "keys here: interval, lost_after")
        ]

    def test_a_missing_key(self) -> None:
        assert mistakes("description: x\n") == [
            told(
                "1:1",
                "the key 'kind' is missing",
                "kind: mirror: one of two nodes runs it; farm: all nodes share the load; light: each node for itself.",
            )
        ]

    def test_a_value_of_the_wrong_type(self) -> None:
        assert mistakes("kind: farm\nmax_loops: many\n") == [
            told("2:12", "max_loops: must be a whole number, not 'many'")
        ]

    def test_a_word_that_is_none_of_the_choices(self) -> None:
        assert mistakes("kind: farm\nboot: auot\n") == [
            told("2:7", "boot: must be 'auto', 'on' or 'off', not 'auot'", "did you mean 'auto'?")
        ]

    def test_a_duration_without_its_unit(self) -> None:
        assert mistakes("kind: farm\nloop_interval: 5\n") == [
            told(
                "2:16",
                "loop_interval: '5, without a unit,' is not a duration; "
                "write a number and a unit (us, ms, s, m, h, d): 500ms",
            )
        ]

    def test_a_duration_that_is_none(self) -> None:
        assert mistakes("kind: farm\nloop_interval: soon\n") == [
            told(
                "2:16",
                "loop_interval: 'soon' is not a duration; write a number and a unit (us, ms, s, m, h, d): 500ms",
            )
        ]

    def test_a_loss_time_under_three_heartbeats(self) -> None:
        assert mistakes("kind: farm\nheartbeat: {interval: 1s, lost_after: 2s}\n") == [
            told("2:12", "heartbeat: lost_after must be at least three intervals (3s), not 2s")
        ]

    def test_a_loss_time_of_exactly_three_heartbeats(self) -> None:
        """0.1 s three times is more than 0.3 s in binary."""
        assert compiled(
            "kind: farm\nheartbeat: {interval: 100ms, lost_after: 300ms}\n"
        ).heartbeat.lost_after == Duration(0.3)

    def test_an_interval_out_of_bounds(self) -> None:
        assert mistakes("kind: farm\nheartbeat: {interval: 1ms}\n") == [
            told("2:12", "heartbeat: the interval must be from 10ms to 60s, not 1ms")
        ]

    def test_tabs(self) -> None:
        assert mistakes("kind: farm\npipeline:\n\t- harbour: {}\n") == [
            told("3:1", "a tab where YAML wants spaces", "indent with spaces")
        ]

    def test_binary_garbage(self) -> None:
        assert mistakes(b"kind: \x80\x81\x82") == [
            told("1:7", "this is not text in UTF-8", "save the file as UTF-8 text")
        ]

    def test_a_duplicate_key(self) -> None:
        assert mistakes("kind: farm\nkind: light\n") == [
            told("2:1", "the key 'kind' is here twice; first at line 1", "remove one")
        ]

    def test_a_file_that_is_too_large(self) -> None:
        assert mistakes(b"#" * (1 << 20) + b"\nkind: farm\n") == [
            told("1:1", "the file has 1048588 bytes; the limit is 1048576")
        ]

    def test_a_list_for_a_file(self) -> None:
        assert mistakes("- kind: farm\n") == [
            told("1:1", "a module file is a mapping of keys to values", "kind: mirror")
        ]

    def test_an_unknown_variable(self) -> None:
        assert mistakes(
            "kind: farm\nvariables: {ADDRESS: x}\npipeline:\n  - drawbridge: {address: '%ADRESS%/24'}\n"
        ) == [
            told(
                "4:28",
                "there is no variable 'ADRESS'",
                "did you mean 'ADDRESS'? (a percent sign itself is written %%)",
            )
        ]

    def test_everything_that_is_wrong_is_told_at_once(self) -> None:
        text = (
            "kind: mirrow\nnods: [n1]\npipeline:\n  - drawbridge: {}\n  - harbor: {}\n"
            "checkers:\n  - lighthouse: {port: 70000}\n"
        )
        assert mistakes(text) == [
            told("1:7", "kind: must be 'mirror', 'farm' or 'light', not 'mirrow'", "did you mean 'mirror'?"),
            told("2:1", "unknown key 'nods'", "did you mean 'nodes'?"),
            told("4:5", "the key 'address' is missing", "address: With prefix length: 10.0.0.9/24."),
            told(
                "5:5",
                "there is no resource or app 'harbor' on this node",
                "did you mean 'harbour'? If not, `pip install safekit-resource-harbor` or `pip install safekit-harbor`",
            ),
            told("7:24", "port: must be at most 65535, not '70000'"),
        ]

    def test_several_mistakes_make_one_message(self) -> None:
        with pytest.raises(ConfigErrors) as caught:
            compiled("kind: farm\na: 1\nb: 2\n")
        keys = (
            "keys here: kind, description, nodes, variables, heartbeat, isolation, default_primary, boot, max_loops, "
        )
        keys += "loop_interval, pipeline, checkers, rules"
        one, two = told("2:1", "unknown key 'a'", keys), told("3:1", "unknown key 'b'", keys)
        assert str(caught.value) == f"2 mistakes:\n{one}\n{two}"


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
