"""Failover rules: what they see, which one acts, how long they hold, and how a module wakes up again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine import rules
from safekit.engine.actions import Explain, Phase, RunPipeline
from safekit.engine.commands import NOT_CHECKED
from safekit.engine.events import Command, ValueSet, VerdictChanged
from safekit.engine.rules import Rule

from .kit import (
    ALONE,
    IDLE,
    MODULE,
    NOT_READY,
    PRIM,
    READY,
    SECOND,
    SECONDARY,
    STOP,
    TRANSIENT,
    UP,
    WAIT,
    Bench,
    alone,
    only,
    phases_of,
    prim,
    rule,
    second,
    spec,
    stopped,
    up,
    waiting,
)

ACTIONS = {
    "restart": (ALONE, Phase.RESTART),
    "stopstart": (STOP, Phase.POSTSTOP),
    "stop": (STOP, Phase.POSTSTOP),
    "wait": (WAIT, Phase.TRANSITION),
}


def is_(name: str, value: str = "down", *, negated: bool = False, side: str = "local") -> rules.Test:
    resource_class, _, ident = name.partition(".")
    return rules.Test(side, resource_class, ident, value, negated)


@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_rule_does_what_it_says(action: str) -> None:
    bench = alone(spec=spec(rules=(rule(action),)))
    bench.verdict("http.home", "down", "connection refused")
    state, phase = ACTIONS[action]
    assert bench.m.state is state
    assert phase in bench.orders()[-1].phases
    said = next(said for said in bench.explained() if said.rule == f"to_{action}")
    assert "http.home" in said.facts
    assert "connection refused" in said.decision


def test_a_stop_by_a_rule_is_what_the_operator_finds() -> None:
    bench = alone(spec=spec(rules=(rule("stop"),)))
    bench.verdict("http.home", "down")
    bench.run_all()
    bench.pass_time(5.0)
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.m.desired


def test_a_stopstart_by_a_rule_comes_back() -> None:
    bench = alone(spec=spec(rules=(rule("stopstart"),)))
    bench.verdict("http.home", "down")
    bench.run_all()
    assert bench.m.state is WAIT
    assert bench.m.desired


def test_a_wait_by_a_rule_lets_the_secondary_take_over() -> None:
    bench = prim(spec=spec(rules=(rule("wait"),)))
    bench.verdict("http.home", "down")
    assert bench.shown == (WAIT, TRANSIENT)
    assert bench.report.active
    bench.run_all()
    assert not bench.report.active


def test_a_swap_by_a_rule_exchanges_the_roles() -> None:
    bench = prim(spec=spec(rules=(rule("swap"),)))
    assert phases_of(bench.verdict("http.home", "down")) == (Phase.STOP_PRIM,)


def test_a_swap_that_is_not_possible_leaves_the_word_to_the_next_rule() -> None:
    bench = alone(spec=spec(rules=(rule("swap"), rule("restart"))))
    assert phases_of(bench.verdict("http.home", "down")) == (Phase.RESTART,)


def test_an_unknown_action_does_nothing() -> None:
    bench = alone(spec=spec(rules=(rule("noaction"),)))
    assert not bench.orders(list(bench.verdict("http.home", "down")))


def test_the_strongest_of_the_rules_that_hold_acts() -> None:
    for weaker, stronger in (("restart", "stopstart"), ("stopstart", "wait"), ("wait", "stop")):
        bench = alone(spec=spec(rules=(rule(stronger), rule(weaker))))
        bench.verdict("http.home", "down")
        assert bench.m.state is ACTIONS[stronger][0]
        assert only(RunPipeline, bench.last).phases[-1] is not Phase.RESTART


def test_rules_wait_for_the_end_of_a_run() -> None:
    bench = waiting(spec=spec(rules=(rule("restart"),)))
    bench.hear(IDLE)
    bench.hear(replace(IDLE, acknowledged=bench.m.claim))
    bench.verdict("http.home", "down")
    assert bench.shown == (ALONE, TRANSIENT)
    assert phases_of(bench.finish()) == (Phase.RESTART,)


def test_rules_act_on_a_secondary_and_on_a_farm_too() -> None:
    bench = second(spec=spec(rules=(rule("wait"),)))
    bench.verdict("http.home", "down")
    assert bench.m.state is WAIT
    farm = up()
    module = replace(farm.m, spec=replace(farm.m.spec, rules=(rule("restart"),)))
    farm.node = replace(farm.node, modules={MODULE: module})
    assert phases_of(farm.verdict("http.home", "down")) == (Phase.RESTART,)
    assert farm.m.state is UP


def held() -> Bench:
    """WAIT, kept there by a rule."""
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.verdict("ping.gw", "down", "no answer")
    bench.hear(IDLE)
    assert bench.shown == (WAIT, NOT_READY)
    return bench


def test_a_wait_rule_holds_a_starting_module() -> None:
    bench = held()
    assert not bench.m.claim
    assert "ping.gw" in bench.m.reason


def test_a_held_module_says_so_once() -> None:
    """Its reason does not count the seconds: each change of it is a journal entry and a heartbeat."""
    bench = held()
    assert not bench.pass_time(5.0)


def test_a_held_module_goes_on_when_the_rule_is_false() -> None:
    bench = held()
    bench.verdict("ping.gw", "up")
    assert bench.m.claim


def test_a_module_that_a_rule_sent_to_wait_explains_its_wakeup() -> None:
    bench = alone(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.verdict("ping.gw", "down")
    bench.run_all()
    assert bench.shown == (WAIT, NOT_READY)
    bench.verdict("ping.gw", "up")
    assert any(said.rule == "Implicit_wakeup" for said in bench.explained())
    assert bench.m.claim


def test_an_unanswered_checker_of_a_wait_rule_holds_a_starting_module() -> None:
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.verdict("ping.gw", "init")
    bench.hear(IDLE)
    assert bench.shown == (WAIT, TRANSIENT)
    assert not bench.m.claim
    bench.verdict("ping.gw", "up")
    assert bench.m.claim


def test_a_checker_that_does_not_run_in_this_state_keeps_nobody_waiting() -> None:
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.tell(VerdictChanged(MODULE, "ping.gw", "init", NOT_CHECKED))
    bench.hear(IDLE)
    assert bench.m.claim


def test_another_checker_of_the_same_class_keeps_nobody_waiting() -> None:
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.verdict("ping.other", "init")
    bench.hear(IDLE)
    assert bench.m.claim


def test_a_module_that_was_held_at_its_start_explains_its_wakeup() -> None:
    bench = held()
    bench.verdict("ping.gw", "up")
    said = next(said for said in bench.explained() if said.rule == "Implicit_wakeup")
    assert said.facts == {"held_by": "to_wait"}


def test_a_hold_time_does_not_let_a_module_start_to_be_stopped() -> None:
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw", hold_s=10.0),)))
    bench.verdict("ping.gw", "down")
    bench.hear(IDLE)
    assert bench.shown == (WAIT, NOT_READY)
    assert not bench.m.claim


def test_a_checker_of_another_class_keeps_nobody_waiting() -> None:
    bench = waiting(spec=spec(rules=(rule("wait", "ping.gw"),)))
    bench.verdict("http.home", "init")
    bench.hear(IDLE)
    assert bench.m.claim


def test_a_value_set_by_an_operator_is_seen_by_rules() -> None:
    bench = alone(spec=spec(rules=(rule("stop", "custom.maintenance", "up"),)))
    bench.tell(ValueSet(MODULE, "custom.maintenance", "up", by="root"))
    assert bench.m.state is STOP


def test_a_repeated_verdict_keeps_the_time_since_when_it_is_so() -> None:
    bench = alone()
    bench.verdict("http.home", "up")
    since_s = bench.m.values["http.home"].since_s
    bench.pass_time(1.0)
    bench.verdict("http.home", "up", "200")
    assert bench.m.values["http.home"].since_s == since_s
    bench.verdict("http.home", "down")
    assert bench.m.values["http.home"].since_s == bench.now_s


def test_a_rule_text_is_shown_with_what_it_looked_at() -> None:
    text = "web_down: if (http.home == down) then restart"
    bench = alone(spec=spec(rules=(Rule("web_down", is_("http.home"), "restart", text),)))
    bench.verdict("tcp.db", "up")
    bench.verdict("http.home", "down", "500")
    said = next(said for said in bench.explained() if said.rule == "web_down")
    assert said.facts["rule"] == text
    assert "tcp.db" not in said.facts


def test_the_fourth_restart_within_the_interval_stops_the_module() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),)))
    for _ in range(3):
        bench.verdict("http.home", "down")
        assert bench.shown == (ALONE, TRANSIENT)
        bench.verdict("http.home", "init")
        bench.finish()
        bench.pass_time(10.0)
        assert bench.shown == (ALONE, READY)
    actions = bench.verdict("http.home", "down")
    assert any(isinstance(a, Explain) and a.severity == "alarm" and a.rule == "max_loops" for a in actions)
    bench.run_all()
    bench.pass_time(5.0)
    assert bench.shown == (STOP, NOT_READY)
    assert not bench.m.desired


@pytest.mark.parametrize("action", ["restart", "stopstart", "wait"])
def test_the_automatic_restarts_that_count(action: str) -> None:
    bench = alone(spec=spec(rules=(rule(action),)))
    bench.verdict("http.home", "down")
    assert len(bench.m.loops) == 1


def test_a_stopstart_by_a_rule_counts() -> None:
    bench = alone(spec=spec(rules=(rule("stopstart"),), max_loops=0))
    bench.verdict("http.home", "down")
    bench.run_all()
    assert bench.shown == (STOP, NOT_READY)


def test_a_swap_and_a_stop_do_not_count() -> None:
    bench = prim(spec=spec(rules=(rule("swap"),)))
    bench.verdict("http.home", "down")
    assert not bench.m.loops
    assert bench.m.state is SECOND
    other = prim()
    other.hear(SECONDARY)
    other.command(Command.STOP)
    assert not other.m.loops
    assert stopped().m.state is not PRIM
