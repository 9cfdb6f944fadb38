"""A module file becomes plain data; every mistake is told with its place, its cause and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from safekit.config.compiled import CompiledModule
from safekit.config.errors import ConfigErrors
from safekit.engine.rules import All, Rule
from safekit.engine.rules import Test as Comparison
from safekit.engine.spec import BootPolicy, IsolationPolicy, Kind, ModuleSpec
from safekit_sdk import Duration

from .kit import FILE, compiled, mistakes, told

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
        spec = CompiledModule.model_validate_json(data).to_spec("node1")
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
        assert module.to_spec("node1").has_data

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

    def test_a_rule_may_look_at_the_other_node(self) -> None:
        module = compiled(FULL)
        assert module.warnings == ()
        assert module.to_spec("n1").told == ("lighthouse.quay",)


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
            "kind: mirrow\nnods: [n1]\npipeline:\n  - drawbridge: {}\n  - arbour: {}\n"
            "checkers:\n  - lighthouse: {port: 70000}\n"
        )
        assert mistakes(text) == [
            told("1:7", "kind: must be 'mirror', 'farm' or 'light', not 'mirrow'", "did you mean 'mirror'?"),
            told("2:1", "unknown key 'nods'", "did you mean 'nodes'?"),
            told("4:5", "the key 'address' is missing", "address: With prefix length: 10.0.0.9/24."),
            told(
                "5:5",
                "there is no resource or app 'arbour' on this node",
                "did you mean 'harbour'? If not, `pip install safekit-resource-arbour` or `pip install safekit-arbour`",
            ),
            told("7:24", "port: must be at most 65535, not '70000'"),
        ]

    def test_several_mistakes_make_one_message(self) -> None:
        with pytest.raises(ConfigErrors) as caught:
            compiled("kind: farm\na: 1\nb: 2\n")
        keys = "keys here: kind, description, nodes, include, variables, node_variables, heartbeat, isolation, "
        keys += "witness, default_primary, weights, boot, max_loops, loop_interval, handle_time, "
        keys += "depends_on, pipeline, checkers, conditions, rules, disabled_rules"
        one, two = told("2:1", "unknown key 'a'", keys), told("3:1", "unknown key 'b'", keys)
        assert str(caught.value) == f"2 mistakes:\n{one}\n{two}"
