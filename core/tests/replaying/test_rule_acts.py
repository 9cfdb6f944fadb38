"""What rules did, and would have done under other settings or by other rules."""

from __future__ import annotations

from safekit.replaying.changes import Changes
from safekit.simulation.scenario import MODULE

from .recorded import Pair, Records, mirror, rule
from .test_losses import told

RESTART = "restart by rule 'home_down'"


def flap(pair: Pair, seconds: float) -> None:
    pair.say("a", "down")
    pair.pass_time(seconds)
    pair.say("a", "up")
    pair.pass_time(15.0)


def test_a_checker_that_flaps_calls_for_nothing_and_a_short_handle_time_would_have_acted(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("restart"),), handle_time_s=5.0))
    flap(pair, 3.0)
    assert told(pair.replay("a")) == []
    done = pair.replay("a", "handle_time=1s")
    assert told(done) == [(RESTART, "in addition", "false")]
    assert "by itself" in done.findings[0].evidence


def test_a_handle_time_would_have_avoided_a_restart_and_what_healed_it_is_not_known(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("restart"),)))
    flap(pair, 3.0)
    done = pair.replay("a", "handle_time=10s")
    assert told(done) == [(RESTART, "would not have happened", "open")]
    assert "by what was done or by itself" in done.findings[0].evidence


def test_what_stays_down_is_restarted_earlier_or_not_at_all(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("restart"),), handle_time_s=5.0))
    pair.world.machines["a"].app(down=True)
    pair.pass_time(100.0)
    recorded = told(pair.replay("a"))
    assert recorded == [(RESTART, "as recorded", "justified")] * 3 + [("stops: max_loops", "as recorded", "open")]
    sooner = pair.replay("a", "handle_time=0")
    assert {found.outcome for found in sooner.findings} == {"earlier"}
    assert 4.8 < sooner.findings[0].by_s < 5.3
    never = told(pair.replay("a", "disabled_rules=home_down"))
    assert never[:3] == [(RESTART, "would not have happened", "missed")] * 3
    fewer = pair.replay("a", "max_loops=2")
    assert [(found.outcome, found.other) for found in fewer.findings][2] == ("instead", "stops: max_loops")


def test_another_rule_is_tried_on_what_was_seen(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("restart"),)))
    pair.say("a", "down", "http.shop")
    pair.pass_time(90.0)
    pair.say("a", "up", "http.shop")
    pair.pass_time(5.0)
    other = rule("wait", "shop")
    done = pair.replay("a", changes=Changes(MODULE, rules=(other,)))
    assert told(done) == [("wait by rule 'shop_down'", "in addition", "justified")]
    milder = rule("stopstart", "shop", hold_s=2.0)
    held = pair.replay("a", changes=Changes(MODULE, rules=(milder,)))
    assert told(held) == [("stopstart by rule 'shop_down'", "in addition", "justified")]
    assert 1.9 < held.findings[0].act.at_s - done.findings[0].act.at_s < 2.1


def test_an_operator_who_acts_on_what_was_done_ends_the_matter(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("stop"),)))
    pair.say("a", "down")
    pair.pass_time(5.0)
    done = pair.replay("a", "disabled_rules=home_down")
    assert [each[:2] for each in told(done)] == [("stop by rule 'home_down'", "would not have happened")]
    pair.start("a")
    pair.pass_time(10.0)
    again = pair.replay("a", "disabled_rules=home_down")
    assert [each[:2] for each in told(again)] == [each[:2] for each in told(done)]
