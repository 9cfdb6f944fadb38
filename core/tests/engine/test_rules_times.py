"""When a rule acts: hold times, handle_time, and what the other node says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit import engine
from safekit.engine import rules
from safekit.engine.events import ValueSet
from safekit.engine.reporting import MAX_TOLD, MAX_TOLD_CHARS
from safekit.engine.rules import All, Rule

from .kit import ALONE, MODULE, PRIM, READY, SECOND, SECONDARY, STOP, TRANSIENT, alone, prim, rule, spec


def is_(name: str, value: str = "down", *, negated: bool = False, side: str = "local") -> rules.Test:
    resource_class, _, ident = name.partition(".")
    return rules.Test(side, resource_class, ident, value, negated)


def test_a_rule_with_a_hold_time_acts_after_it_and_not_before() -> None:
    bench = alone(spec=spec(rules=(rule("restart", hold_s=2.0),)))
    bench.verdict("http.home", "down")
    bench.pass_time(1.8)
    assert bench.shown == (ALONE, READY)
    bench.pass_time(0.4)
    assert bench.shown == (ALONE, TRANSIENT)


def test_a_hold_time_begins_anew_when_the_condition_was_false_in_between() -> None:
    bench = alone(spec=spec(rules=(rule("restart", hold_s=2.0),)))
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    bench.verdict("http.home", "up")
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    assert bench.shown == (ALONE, READY)


def remote_rule(action: str, **changes: object) -> Rule:
    """`if (http.home == down && remote.http.home == up) then action`."""
    both = All((is_("http.home"), is_("http.home", "up", side="remote")))
    return replace(rule(action), condition=both, **changes)  # type: ignore[arg-type]


def test_a_rule_sees_what_the_other_node_says() -> None:
    bench = prim(spec=spec(rules=(remote_rule("swap"),), told=("http.home",)))
    bench.verdict("http.home", "down", "no answer")
    assert bench.shown == (PRIM, READY)
    bench.hear(replace(SECONDARY, values=(("http.home", "up"),)))
    assert bench.shown == (SECOND, TRANSIENT)
    said = next(said for said in bench.explained() if said.rule == "to_swap")
    assert said.facts["remote.http.home"] == "up"


def test_nothing_is_known_of_a_node_that_is_not_heard() -> None:
    bench = prim(spec=spec(rules=(remote_rule("restart"),), told=("http.home",)))
    bench.hear(replace(SECONDARY, values=(("http.home", "up"),)))
    bench.silence()
    bench.pass_time(2.0)
    bench.run_all()
    done = len(bench.orders())
    bench.verdict("http.home", "down")
    assert len(bench.orders()) == done


def test_a_node_tells_what_rules_of_the_other_one_look_at_and_no_more() -> None:
    bench = prim(spec=spec(told=("http.home", "tcp.*")))
    for name, value in (("http.home", "down"), ("http.api", "up"), ("tcp.b", "up"), ("tcp.a", "init")):
        bench.verdict(name, value)
    assert bench.report.values == (("http.home", "down"), ("tcp.a", "init"), ("tcp.b", "up"))
    assert rules.told((remote_rule("swap"), rule("stop", "ftp.x"))) == ("http.home",)
    assert rules.told((replace(rule("stop"), condition=is_("tcp.?", side="remote")),)) == ("tcp.*",)


def test_what_a_node_tells_is_bounded() -> None:
    bench = alone(spec=spec(told=("custom.*",)))
    for number in range(100):
        bench.tell(ValueSet(MODULE, f"custom.{number:03}", "x" * 256, by="root"))
    assert len(bench.report.values) == MAX_TOLD
    assert {len(value) for _, value in bench.report.values} == {MAX_TOLD_CHARS}


def test_the_message_of_a_rule_is_the_first_thing_that_is_said() -> None:
    bench = alone(spec=spec(rules=(rule("restart", message="the shop hangs"),)))
    bench.verdict("http.home", "down", "500")
    said = next(said for said in bench.explained() if said.rule == "to_restart")
    assert said.decision == "rule 'to_restart': the shop hangs (http.home down for 0.00 s: 500)"


def test_what_else_was_true_is_told() -> None:
    many = (rule("stopstart"), rule("restart"), rule("swap"), rule("wait", hold_s=5.0), rule("stop", "tcp.db"))
    bench = alone(spec=spec(rules=many))
    bench.verdict("http.home", "down")
    said = next(said for said in bench.explained() if said.rule == "to_stopstart")
    assert said.considered == (
        "rule 'to_restart' (restart): 'to_stopstart' goes before it",
        "rule 'to_swap' (swap): this node is ALONE Ready, not PRIM Ready",
        "rule 'to_wait' (wait): true for 0.00 s of 5 s",
    )


def test_an_action_waits_until_it_has_been_the_same_for_handle_time() -> None:
    bench = alone(spec=spec(rules=(rule("restart"), rule("stopstart", "tcp.db")), handle_time_s=2.0))
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    bench.verdict("tcp.db", "down")
    bench.pass_time(1.5)
    assert bench.shown == (ALONE, READY)
    bench.pass_time(0.7)
    assert bench.m.state is STOP


def test_the_next_deadline_is_the_end_of_handle_time() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),), handle_time_s=0.3))
    bench.verdict("http.home", "down")
    assert engine.next_deadline(bench.node) == pytest.approx(bench.now_s + 0.3)


def test_handle_time_is_of_the_action_and_not_of_the_rule() -> None:
    first, second_rule = rule("restart"), replace(rule("restart", "tcp.db"), label="other")
    bench = alone(spec=spec(rules=(first, second_rule), handle_time_s=2.0))
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    bench.verdict("tcp.db", "down")
    bench.verdict("http.home", "up")
    bench.pass_time(0.7)
    assert bench.shown == (ALONE, TRANSIENT)


def test_handle_time_begins_anew_when_nothing_was_to_be_done() -> None:
    bench = alone(spec=spec(rules=(rule("restart"),), handle_time_s=2.0))
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    bench.verdict("http.home", "up")
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    assert bench.shown == (ALONE, READY)


@pytest.mark.parametrize("times", [{"hold_s": 2.0}, {"handle_time_s": 2.0}])
def test_what_stays_true_is_handled_again_only_after_its_time(times: dict[str, float]) -> None:
    """A checker of another machine does not begin anew with a restart here."""
    again = rule("restart", hold_s=times.get("hold_s", 0.0))
    bench = alone(spec=spec(rules=(again,), handle_time_s=times.get("handle_time_s", 0.0)))
    bench.verdict("http.home", "down")
    bench.pass_time(2.2)
    assert bench.shown == (ALONE, TRANSIENT)
    bench.pass_time(5.0)
    bench.finish()
    assert bench.shown == (ALONE, READY)
    bench.pass_time(1.5)
    assert bench.shown == (ALONE, READY)
    bench.pass_time(0.7)
    assert bench.shown == (ALONE, TRANSIENT)


def test_a_hold_time_goes_on_when_the_peer_comes() -> None:
    bench = alone(spec=spec(rules=(rule("restart", hold_s=2.0),)))
    bench.verdict("http.home", "down")
    bench.pass_time(1.5)
    bench.hear(SECONDARY)
    bench.run_all()
    assert bench.shown == (PRIM, READY)
    bench.pass_time(0.7)
    assert bench.shown == (PRIM, TRANSIENT)
