"""The list as a whole: its order, and that every command which it names is one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st

from safekit.cli.app import build
from safekit.diagnosis import ClusterFacts, Finding, Severity, diagnose, exclusion
from safekit.diagnosis.facts import DaemonTrouble, PeerFacts
from safekit.diagnosis.finding import in_order, size, span

from .kit import MACHINE, PRIMARY, SECONDARY, SERVER, changed, cluster, mirror, node

STATES = ("STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP")
PAGE = Path(__file__).parents[3] / "docs/how-to/doctor.md"
TREE = typer.main.get_command(build(""))


def finding(severity: Severity, what: str, *nodes: str) -> Finding:
    return Finding(severity=severity, name="x", what=what, why="", mend="", nodes=nodes)


def test_alarms_come_first_and_the_order_of_the_checks_is_kept_within() -> None:
    came = (finding(Severity.NOTE, "1"), finding(Severity.ALARM, "2"), finding(Severity.ALARM, "3"))
    assert [one.what for one in in_order(came)] == ["2", "3", "1"]


def test_the_same_on_two_nodes_is_told_once() -> None:
    same = (finding(Severity.NOTE, "1", "a"), finding(Severity.NOTE, "1", "b"), finding(Severity.NOTE, "2", "b"))
    assert [one.nodes for one in in_order(same)] == [("a", "b"), ("b",)]


def test_every_finding_is_on_the_page_for_operators_and_no_other() -> None:
    source = "".join(path.read_text() for path in Path(exclusion.__file__).parent.glob("*.py"))
    named = set(re.findall(r'(?:name=|_limit\(\s*\w+,\s*|_disk\(\w+, )"([a-z-]+)"', source))
    told = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(named) > 50
    assert sorted(told) == sorted(named)


def test_notes_are_no_risk() -> None:
    stopped = {"state": "STOP", "readiness": "NotReady", "active": False, "desired": False}
    report = diagnose(mirror(changed(PRIMARY, **stopped), changed(SECONDARY, **stopped)))
    assert [one.severity for one in report.findings] == ["note"]
    assert not report.at_risk
    assert diagnose(cluster(silent=("a",))).at_risk


def test_what_was_not_looked_at_is_said() -> None:
    unchecked = changed(MACHINE, unchecked=("web",))
    report = diagnose(cluster(node("a", PRIMARY, machine=unchecked, unread=("history",)), silent=("b",)))
    assert [sentence.partition(":")[0] for sentence in report.not_looked_at] == [
        "b",
        "a",
        "whether a has what these modules need (web)",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 bytes"), (1 << 20, "1.0 MiB"), (3 << 40, "3.0 TiB"), (1536, "1.5 KiB")]
)
def test_sizes_are_written_as_people_do(value: int, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.08, "80 ms"), (1.5, "1.5 s"), (300, "5 min"), (3 * 86400, "3 days")])
def test_times_are_written_as_people_do(value: float, text: str) -> None:
    assert span(value) == text


modules = st.builds(
    lambda base, state, readiness, flags, numbers: changed(
        base,
        state=state,
        readiness=readiness,
        desired=flags[0],
        active=flags[1],
        failover=flags[2],
        up_to_date=flags[3],
        edited=flags[4],
        witness=base.witness if flags[5] else None,
        isolation="availability" if flags[6] else "safety",
        loops=numbers[0],
        nodes=("a", "b")[: 1 + numbers[1]],
        signature=str(numbers[1]),
    ),
    st.sampled_from((PRIMARY, SERVER, changed(PRIMARY, kind="light", witness=None))),
    st.sampled_from(STATES),
    st.sampled_from(("NotReady", "Transient", "Ready")),
    st.lists(st.booleans(), min_size=7, max_size=7),
    st.tuples(st.integers(0, 5), st.integers(0, 1)),
)
peers = st.builds(
    PeerFacts,
    node=st.sampled_from(("a", "b")),
    alive=st.booleans(),
    hears_us=st.booleans(),
    silent_s=st.dictionaries(st.sampled_from(("lan", "back")), st.floats(0, 100)),
    longest_gap_s=st.floats(0, 10),
    losses=st.integers(0, 3),
)
machines = st.builds(
    lambda watchdog, present, fence: changed(MACHINE, watchdog=watchdog, watchdog_present=present, self_fence=fence),
    st.sampled_from(("off", "automatic", "required")),
    st.booleans(),
    st.sampled_from(("none", "reboot")),
)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterFacts:
    answering = draw(st.sets(st.sampled_from(("a", "b"))))
    made: list[Any] = []
    for name in sorted(answering):
        held = (draw(modules),) if draw(st.booleans()) else ()
        made.append(node(name, *held, machine=draw(machines), peers=(draw(peers),), revision=draw(st.integers(1, 2))))
    found = cluster(*made, silent=tuple(sorted({"a", "b"} - answering)))
    trouble = DaemonTrouble(machine=draw(machines), pid=draw(st.integers(0, 1)))
    return changed(found, daemon=trouble) if draw(st.booleans()) else found


@settings(max_examples=300, deadline=None)
@given(clusters())
def test_whatever_the_facts_every_finding_says_what_why_and_what_to_do_and_its_commands_are_ours(
    facts: ClusterFacts,
) -> None:
    report = diagnose(ClusterFacts.model_validate_json(facts.model_dump_json()))
    assert [one.severity for one in report.findings] == sorted(
        (one.severity for one in report.findings), key=list(Severity).index
    )
    for one in report.findings:
        assert one.what
        assert one.why
        assert one.mend
        for words in commands(one.mend):
            assert_is_ours(words)


def commands(text: str) -> Iterator[list[str]]:
    yield from (shlex.split(words) for words in re.findall(r"`safekit ([^`]*)`", text))


def assert_is_ours(words: list[str]) -> None:
    """Parsed as the command line would, and not run."""
    command, given = TREE, list(words)
    while hasattr(command, "commands"):
        command = command.commands[given.pop(0)]
    context = command.make_context(words[0], given, resilient_parsing=False)
    assert context.params is not None
