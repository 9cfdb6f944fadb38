"""What a promotable agent is told, on its own node and of the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from safekit_resource_ocf.notification import Pair, environment, operation_between

from safekit_sdk import Peer
from safekit_sdk.testing import RecordingContext

from .agents import DaemonAgent
from .conftest import Made


def told(daemon: DaemonAgent) -> Iterator[dict[str, str]]:
    """Of each call of `notify` what it was told, by the names without their prefix."""
    path = daemon.state / "notify"
    lines = path.read_text().splitlines() if path.exists() else []
    one: dict[str, str] = {}
    for line in lines:
        name, _, value = line.removeprefix("OCF_RESKEY_CRM_meta_notify_").partition("=")
        one[name] = value
        if name == "unpromoted_uname":  # the last one
            yield one
            one = {}


async def test_each_step_is_told_before_and_after(daemon: DaemonAgent, make: Made, context: RecordingContext) -> None:
    resource = make(**daemon.settings, promotable=True)
    await resource.start()
    await resource.meet(Peer("node2", place="started"))
    await resource.promote()
    await resource.demote(False)
    await resource.stop(False)
    calls = list(told(daemon))
    assert [(one["type"], one["operation"]) for one in calls] == [
        ("post", "start"),
        ("post", "start"),
        *[(moment, operation) for operation in ("promote", "demote") for moment in ("pre", "post")],
        ("pre", "stop"),
    ]
    assert [one["start_uname"] for one in calls[:2]] == ["node1", "node2"]
    before, after = calls[2], calls[3]
    for one in (before, after):
        assert (one["promote_uname"], one["master_uname"], one["slave_uname"]) == ("node1", "", "node1 node2")
    assert (calls[4]["demote_uname"], calls[4]["promoted_uname"], calls[4]["unpromoted_uname"]) == (
        "node1",
        "node1",
        "node2",
    )
    assert before["promote_resource"] == f"{context.module}-default"


async def test_the_other_node_hears_what_this_one_is(
    daemon: DaemonAgent, make: Made, context: RecordingContext
) -> None:
    resource = make(**daemon.settings, promotable=True, notify=False)
    said = []
    for work in (resource.start(), resource.promote(), resource.demote(False), resource.stop(False)):
        await work
        said.append(context.values["place.default"])
    assert said == ["started", "promoted", "started", "stopped"]
    assert list(told(daemon)) == []


async def test_a_notification_that_fails_is_logged_and_hinders_nothing(
    daemon: DaemonAgent, make: Made, context: RecordingContext
) -> None:
    daemon.mode(notify="exit 1")
    resource = make(**daemon.settings, promotable=True)
    await resource.start()
    assert any("notify (post-start): exit code 1" in line for line in context.lines)


@pytest.mark.parametrize(
    ("before", "after", "operation"),
    [
        ("", "started", "start"),
        ("started", "promoted", "promote"),
        ("", "promoted", "promote"),
        ("promoted", "started", "demote"),
        ("started", "", "stop"),
        ("started", "started", None),
    ],
)
def test_what_the_other_node_did_is_seen_by_what_it_became(before: str, after: str, operation: str | None) -> None:
    assert operation_between(before, after) == operation


def test_a_node_that_is_not_heard_is_no_part_of_it() -> None:
    said = environment(Pair("node1", own_is="started"), "db", "pre", "promote", "node1")
    prefix = "OCF_RESKEY_CRM_meta_notify_"
    assert said[f"{prefix}active_uname"] == said[f"{prefix}all_uname"] == "node1"
