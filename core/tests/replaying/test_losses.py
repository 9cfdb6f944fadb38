"""Losses and failovers under other settings: what would not have happened, and was it called for."""

from __future__ import annotations

from safekit.engine.spec import WitnessSpec
from safekit.replaying.replay import Replayed

from .recorded import Pair, Records, mirror

LOST = "a counts as lost"
TAKES = "takes over"
Told = list[tuple[str, str, str]]


def told(done: Replayed) -> Told:
    assert not done.deviations
    return [(found.act.what, str(found.outcome), str(found.judgement)) for found in done.findings]


def test_a_false_loss_is_called_false_and_a_longer_loss_time_avoids_it(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.silence(1.5)
    pair.pass_time(10.0)
    assert told(pair.replay("b")) == [(LOST, "as recorded", "false"), (TAKES, "as recorded", "false")]
    without = ("would not have happened", "false")
    assert told(pair.replay("b", "heartbeat.lost_after=3s")) == [(LOST, *without), (TAKES, *without)]
    primary = told(pair.replay("a", "heartbeat.lost_after=3s"))
    assert primary == [("b counts as lost", *without), ("goes on alone", *without)]


def test_after_a_crash_a_longer_loss_time_only_delays_and_safety_misses(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.world.machines["a"].power_off()
    pair.pass_time(30.0)
    done = pair.replay("b", "heartbeat.lost_after=3s")
    assert told(done) == [(LOST, "later", "justified"), (TAKES, "later", "justified")]
    assert all(1.9 < found.by_s < 2.1 for found in done.findings)
    safe = pair.replay("b", "isolation=safety")
    assert told(safe) == [(LOST, "as recorded", "justified"), (TAKES, "would not have happened", "missed")]
    assert "waits" in safe.findings[1].other
    pair.world.machines["a"].power_on()
    pair.pass_time(15.0)
    again = pair.replay("b", "heartbeat.lost_after=3s")
    assert told(again) == told(done)
    assert "daemon had ended" in again.findings[1].evidence


def test_a_record_that_ends_too_soon_tells_nothing(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.world.machines["a"].power_off()
    pair.pass_time(2.0)
    open_yet = ("would not have happened", "open")
    assert told(pair.replay("b", "heartbeat.lost_after=3s")) == [(LOST, *open_yet), (TAKES, *open_yet)]


def test_a_daemon_that_restarts_sooner_than_it_is_missed_is_a_loss_that_was_missed(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.world.machines["a"].kill_daemon()
    pair.pass_time(1.5)
    pair.world.machines["a"].start_daemon()
    pair.pass_time(15.0)
    without = ("would not have happened", "missed")
    assert told(pair.replay("b", "heartbeat.lost_after=3s")) == [(LOST, *without), (TAKES, *without)]


def test_a_shorter_loss_time_would_have_lost_what_was_only_slow(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.silence(0.7)
    pair.pass_time(5.0)
    assert told(pair.replay("b")) == []
    added = ("in addition", "false")
    assert told(pair.replay("b", "heartbeat.lost_after=500ms")) == [(LOST, *added), (TAKES, *added)]


def test_a_primary_that_was_cut_off_for_minutes_had_to_be_followed(records: Records) -> None:
    pair = Pair(records, mirror())
    pair.silence(90.0)
    pair.pass_time(10.0)
    done = pair.replay("b")
    assert told(done)[:2] == [(LOST, "as recorded", "justified"), (TAKES, "as recorded", "justified")]
    assert "stayed away" in done.findings[0].evidence


def test_several_losses_are_each_looked_at_by_itself(records: Records) -> None:
    pair = Pair(records, mirror())
    for silent_s in (1.5, 0.8, 5.0):
        pair.silence(silent_s)
        pair.pass_time(15.0)
    done = pair.replay("b", "heartbeat.lost_after=3s")
    lost = [(outcome, judgement) for what, outcome, judgement in told(done) if what == LOST]
    assert lost == [("would not have happened", "false"), ("later", "false")]


def test_a_witness_that_is_asked_later_says_what_it_said(records: Records) -> None:
    pair = Pair(records, mirror(witness=WitnessSpec("splitbrain.lease", 5.0, 0.5)))
    pair.world.machines["a"].power_off()
    pair.pass_time(30.0)
    assert told(pair.replay("b", "heartbeat.lost_after=8s")) == [
        (LOST, "later", "justified"),
        (TAKES, "later", "justified"),
    ]
    assert told(pair.replay("b", "heartbeat.lost_after=3s"))[1] == (TAKES, "as recorded", "justified")


def test_what_follows_after_the_other_node_is_fenced_comes_as_much_later(records: Records) -> None:
    pair = Pair(records, mirror(fences=True))
    pair.world.machines["a"].power_off()
    pair.pass_time(30.0)
    for settings, outcome in (("3s", "later"), ("500ms", "earlier")):
        done = pair.replay("b", f"heartbeat.lost_after={settings}")
        assert {each[1:] for each in told(done)} == {(outcome, "justified")}
        assert [each[0] for each in told(done)][-1] == TAKES
