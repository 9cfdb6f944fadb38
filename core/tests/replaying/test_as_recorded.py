"""What is on record is all that the engine needs to decide the same once more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safekit.engine import NodeState, events
from safekit.journal.codec import dump_state, load_state
from safekit.replaying.findings import Outcome
from safekit.simulation.daemon import Daemon
from safekit.simulation.drawing import draw
from safekit.simulation.history import History
from safekit.simulation.scenario import Timing

from .recorded import Pair, Records, mirror, rule

SEEDS = (39, 46, 51, 57, 58, 100013)
"""Mirrors with and without data and witnesses, farms, freezes, crashes, changes of configuration."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_decision_of_a_history_with_trouble_is_taken_again(records: Records, seed: int) -> None:
    world = History(draw(seed))
    world.run()
    for node in world.machines:
        done = records.of(node).replay()
        assert done.decisions > 5
        assert not done.deviations
        same = records.of(node).replay("max_loops=3")  # as it is anyway: both engines go the same way
        assert {finding.outcome for finding in same.findings} <= {Outcome.SAME}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_state_is_the_same_after_it_was_written_and_read(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    seen: list[NodeState] = []
    submit = Daemon.submit

    def submit_and_keep(daemon: Daemon, event: events.Event) -> None:
        submit(daemon, event)
        seen.append(daemon.node)

    monkeypatch.setattr(Daemon, "submit", submit_and_keep)
    History(draw(seed)).run()
    assert len(seen) > 100
    assert all(load_state(dump_state(node)) == node for node in seen[::20])


def test_a_state_that_another_version_wrote_is_refused_or_read() -> None:
    text = dump_state(NodeState("a"))
    assert load_state(text.replace('"incarnation":0', '"incarnation":0,"later":1')) == NodeState("a")
    with pytest.raises(ValueError, match="incarnation"):
        load_state(text.replace('"incarnation":0', '"incarnation":"x"'))


def test_a_replay_begins_in_the_middle_with_the_last_state_before_it(records: Records) -> None:
    pair = Pair(records, mirror(rules=(rule("restart"),)), Timing(1.0, 5.0))
    pair.pass_time(3700.0)
    pair.say("a", "down")
    pair.pass_time(5.0)
    whole = pair.replay("a")
    late = records.of("a").replay(since=whole.end - 60.0)
    assert late.decisions < whole.decisions
    assert not late.deviations
    assert [finding.act.what for finding in late.findings] == ["restart by rule 'home_down'"]


def test_an_engine_that_decides_otherwise_is_seen(records: Records) -> None:
    """As one of another version would."""
    pair = Pair(records, mirror(rules=(rule("restart"),)))
    pair.say("a", "down")
    pair.pass_time(5.0)
    recorder = records.of("a").recorder
    daemon = pair.world.machines["a"].daemon
    assert recorder is not None
    assert daemon is not None
    recorder.decided(replace(pair.last_decision("a"), rule="another"), daemon.machine.local_s())
    pair.pass_time(5.0)
    done = pair.replay("a")
    assert [(each.on_record, each.decision.rule) for each in done.deviations] == [(True, "another")]
