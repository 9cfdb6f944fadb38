"""What rules would do, tried without a node; and what they look at on one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine import trial
from safekit.engine.rules import Rule
from safekit.engine.rules import Test as Comparison
from safekit.engine.spec import Kind
from safekit.engine.trial import Outcome, try_rules

from .kit import ALONE, MODULE, NODES, PRIM, SECOND, SECONDARY, STOP, UP, WAIT, Bench, prim, rule, spec

DOWN = {"http.home": "down"}


@pytest.mark.parametrize("action", ["restart", "stopstart", "stop", "wait", "swap"])
def test_the_action_follows_in_the_states_in_which_it_can(action: str) -> None:
    tried = spec(rules=(rule(action),))
    for state in (PRIM, ALONE, SECOND):
        outcome = try_rules(tried, "a", state, DOWN, {})
        assert outcome.action == (action if action != "swap" or state is PRIM else "")
    assert try_rules(tried, "a", PRIM, {"http.home": "up"}, {}) == Outcome(PRIM)


def test_only_a_wait_rule_holds_what_waits() -> None:
    assert try_rules(spec(rules=(rule("restart"),)), "a", WAIT, DOWN, {}) == Outcome(WAIT)
    held = try_rules(spec(rules=(rule("wait"),)), "a", WAIT, DOWN, {})
    assert (held.label, held.action) == ("to_wait", "wait")


def test_the_other_nodes_values_count_where_there_is_one() -> None:
    at_peer = rule("stop", condition=Comparison("remote", "http", "home", "down"))
    assert try_rules(spec(rules=(at_peer,)), "a", PRIM, {}, DOWN).action == "stop"
    assert try_rules(spec(rules=(at_peer,), nodes=("a",)), "a", ALONE, {}, DOWN).action == ""
    assert try_rules(spec(rules=(at_peer,), kind=Kind.FARM), "a", UP, {}, DOWN).action == ""


@pytest.mark.parametrize(
    ("rules", "handle_time_s", "expected"),
    [
        ((rule("restart", hold_s=5.0),), 0.0, ("restart", 5.0)),
        ((rule("restart", hold_s=5.0),), 15.0, ("restart", 20.0)),
        ((rule("restart"), rule("stop", hold_s=5.0)), 0.0, ("restart", 0.0)),
        ((rule("restart"), rule("stop", hold_s=5.0)), 15.0, ("stop", 20.0)),
    ],
)
def test_the_time_after_which_it_follows(
    rules: tuple[Rule, ...], handle_time_s: float, expected: tuple[str, float]
) -> None:
    outcome = try_rules(spec(rules=rules, handle_time_s=handle_time_s), "a", PRIM, DOWN, {})
    assert (outcome.action, outcome.after_s) == expected


def test_what_is_passed_over_is_told() -> None:
    assert try_rules(spec(rules=(rule("swap"),)), "a", ALONE, DOWN, {}).considered == (
        "rule 'to_swap' (swap): this node is ALONE Ready, not PRIM Ready",
    )


def test_a_module_that_stops_after_one_restart_says_what_the_rule_says() -> None:
    assert try_rules(spec(rules=(rule("restart"),), max_loops=1), "a", PRIM, DOWN, {}).action == "restart"


@pytest.mark.parametrize(
    ("kind", "nodes", "states"),
    [
        (Kind.MIRROR, NODES, (PRIM, ALONE, SECOND, WAIT)),
        (Kind.MIRROR, ("a",), (ALONE, WAIT)),
        (Kind.FARM, NODES, (UP, WAIT)),
        (Kind.LIGHT, ("a",), (UP, WAIT)),
    ],
)
def test_the_states_in_which_rules_are_looked_at(kind: Kind, nodes: tuple[str, ...], states: object) -> None:
    assert trial.states(spec(kind=kind, nodes=nodes)) == states


def test_what_rules_look_at_on_a_node() -> None:
    bench = prim(spec=spec(rules=(rule("stop", hold_s=9.0),)))
    bench.hear(replace(SECONDARY, values=(("tcp.a", "up"),)))
    bench.verdict("http.home", "down", "500")
    bench.pass_time(2.0)
    found = trial.present(bench.node, MODULE, bench.now_s)
    assert found is not None
    assert (found.state, found.swap_obstacle, found.remote, found.loops) == (PRIM, "", {"tcp.a": "up"}, 0)
    assert found.values["http.home"].reason == "500"
    assert found.held_s["to_stop"] == pytest.approx(2.0)
    bench.silence()
    bench.pass_time(2.0)
    lost = trial.present(bench.node, MODULE, bench.now_s)
    assert lost is not None
    assert lost.remote == {}
    assert trial.present(bench.node, "none", bench.now_s) is None
    idle = trial.present(Bench().node, MODULE, 0.0)
    assert idle is not None
    assert idle.state is STOP
