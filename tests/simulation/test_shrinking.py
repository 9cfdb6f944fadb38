"""A violation is told by the smallest history that shows it, with the reasons that a user would read."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from safekit.cli import journal
from safekit.engine import mirror
from safekit.engine.actions import Explain
from safekit.engine.module import Turn
from safekit.simulation import Outcome, Scenario, draw, play
from safekit.simulation.__main__ import main
from safekit.simulation.chronicle import why
from safekit.simulation.scenario import Injection
from safekit.simulation.shrinking import shrink, story

FIRST = 100_000


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A history with many faults, of an engine that takes over in spite of the policy."""
    monkeypatch.setattr(mirror, "_lost_primary", lambda turn: turn.begin("takeover", "silence is enough"))
    found = (play(draw(seed, witness=False)) for seed in range(FIRST, FIRST + 500) if draw(seed).count >= 6)
    return next(outcome for outcome in found if outcome.violation)


def scenario_of(outcome: Outcome) -> Scenario:
    return draw(outcome.seed, witness=False)


def test_what_is_left_breaks_the_same_promise_with_fewer_faults(broken: Outcome) -> None:
    shrunk = shrink(scenario_of(broken), broken)
    assert shrunk.outcome.promise == broken.promise
    assert len(broken.injections) >= 6
    assert len(shrunk.outcome.injections) <= 2
    assert play(shrunk.scenario).violation == shrunk.outcome.violation


def test_the_story_has_the_seed_the_faults_and_the_reasons(broken: Outcome) -> None:
    text = "\n".join(story(shrink(scenario_of(broken), broken), broken))
    assert f"seed {broken.seed} at " in text
    assert re.search(r"shrunk from \d+ to [12] faults", text)
    assert "why, on a:" in text
    assert "silence is enough\nrule: takeover\n" in text


def test_shrinking_ends_when_its_time_is_over(broken: Outcome) -> None:
    began_s = time.monotonic()
    shrunk = shrink(scenario_of(broken), broken, patience_s=0.2)
    assert time.monotonic() - began_s < 10.0
    assert shrunk.outcome.promise == broken.promise


def test_shrinking_ends_after_so_many_tries() -> None:
    """Also when everything that it tries is smaller."""
    outcome = Outcome(1, "broken", promise="one primary", injections=tuple(Injection(i, "cut", 1.0) for i in range(50)))
    tried = []

    def never(scenario: Scenario) -> Outcome:
        tried.append(scenario)
        return replace(outcome, promise="")

    assert shrink(draw(1), outcome, tries=30, player=never).tries == 30
    assert len(tried) == 30


def test_a_violation_is_printed_with_its_story_and_the_summary_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def eager(turn: Turn) -> None:
        turn.begin("become-alone", "why not")

    monkeypatch.setattr(mirror, "_look_for_peer", eager)
    monkeypatch.setattr("sys.argv", ["safekit-sim", "--seed-start", "0", "--histories", "3", "--jobs", "1"])
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"histories=3 violations=[123] ", lines[-1])
    assert any(line.strip().startswith("why, on ") for line in lines)


def test_the_reasons_read_as_those_of_safekit_why() -> None:
    """The same decisions as a user's history has them, through the command that shows it."""
    trace = [
        Explain("web", "prestart is done", "started", {}, before="WAIT/Transient", after="WAIT/Transient"),
        Explain(
            "web", "b was lost", "left", {"epoch": "3"}, ("wait: no",), "a witness", "PRIM/Ready", "ALONE/Transient"
        ),
        Explain("web", "running here", "left", {}, before="ALONE/Transient", after="ALONE/Ready"),
    ]
    shown = {
        "wall": 0.0,
        "change": body(trace[1]),
        "before": [body(trace[0])],
        "after": [{**body(trace[2]), "later_s": 0.5}],
    }
    user = journal._why_text(shown).plain.splitlines()
    ours = list(why([(1.0, trace[0]), (2.0, trace[1]), (2.5, trace[2])]))
    assert ours[1:] == user[1:]
    assert ours[0].split("  ")[1:] == user[0].split("  ")[1:]


def body(said: Explain) -> dict[str, object]:
    names = ("decision", "rule", "facts", "considered", "prevent", "before", "after")
    return {name: getattr(said, name) for name in names}
