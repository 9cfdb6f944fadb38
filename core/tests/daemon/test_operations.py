"""Who may ask for what, with whose name, and what services keep on every node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from safekit.bus.control import Caller
from safekit.bus.messages import Call
from safekit.daemon.changes import Changes, ChangesArgs
from safekit.daemon.operations import Args, By, FanArgs, NoArgs, Operations, Power
from safekit.daemon.shared import Record, ShareArgs, Shared, SharedArgs


class WhoArgs(Args):
    by: By = ""


async def _told(args: Any) -> str:
    return getattr(args, "by", "nobody")


def operations(others: Power) -> Operations:
    made = Operations(others)
    for name, needs in (("see", Power.LOOK), ("move", Power.OPERATE), ("change", Power.CONFIGURE)):
        made.add(name, WhoArgs, _told, peers=True, needs=needs)
    made.add("unclassified", NoArgs, _told, peers=True)
    made.add("fan", FanArgs, _told, peers=False, needs=Power.LOOK)
    return made


async def is_refused(
    made: Operations, op: str, args: dict[str, Any] | None = None, *, caller: Caller = Caller.CONSOLE
) -> bool:
    answer = await made.local(Call(id="1", op=op, args=args or {}), caller)
    return answer.error is not None and answer.error.code == "refused"


@pytest.mark.parametrize("others", list(Power)[:4])
async def test_who_is_not_root_may_ask_for_as_much_as_the_setting_says(others: Power) -> None:
    made = operations(others)
    for op, needs in (("see", Power.LOOK), ("move", Power.OPERATE), ("change", Power.CONFIGURE)):
        assert await is_refused(made, op) is (needs > others)
        assert await is_refused(made, "fan", {"op": op}) is (needs > others)
        assert not await is_refused(made, op, caller=Caller.ROOT)
        assert await is_refused(made, op, caller=Caller.WATCHER) is (needs > min(others, Power.LOOK))
    assert await is_refused(made, "unclassified")
    assert await is_refused(made, "fan", {"op": "unclassified"})
    assert await is_refused(made, "no such thing")


async def test_the_name_of_the_asker_reaches_the_work_and_cannot_be_that_of_root() -> None:
    made = operations(Power.CONFIGURE)
    call = Call(id="1", op="move", args={"by": "root"}, by="anna (10.0.0.9)")
    assert (await made.local(call, Caller.ROOT)).result == "anna (10.0.0.9)"
    assert (await made.local(call, Caller.CONSOLE)).result == "console: anna (10.0.0.9)"
    assert (await made.remote("node2", call)).result == "anna (10.0.0.9)"


async def test_what_is_noted_says_who_asked_when_it_is_done() -> None:
    told: list[tuple[str, str]] = []
    made = Operations(Power.CONFIGURE, lambda module, line: told.append((module, line)))
    made.add("apply", WhoArgs, _told, peers=False, needs=Power.CONFIGURE, noted=True)
    await made.local(Call(id="1", op="apply", by="anna (10.0.0.9)"), Caller.CONSOLE)
    await made.local(Call(id="1", op="apply", args={"x": 1}, by="bo"), Caller.ROOT)
    assert told == [("", "apply: done, asked for by console: anna (10.0.0.9)")]


async def test_a_change_is_told_at_once_to_who_waits_for_it() -> None:
    changes = Changes(7)
    first = await changes.changes(ChangesArgs())
    waiting = asyncio.create_task(changes.changes(ChangesArgs(after=first["at"], timeout_s=30)))
    await asyncio.sleep(0)
    changes.note()
    assert (await waiting)["at"] != first["at"]
    assert (await changes.changes(ChangesArgs(after=first["at"], timeout_s=30)))["at"] == (await waiting)["at"]


async def test_without_a_change_the_wait_ends_with_its_time() -> None:
    changes = Changes(7)
    at = (await changes.changes(ChangesArgs()))["at"]
    assert (await changes.changes(ChangesArgs(after=at, timeout_s=0.01)))["at"] == at


async def test_of_two_copies_of_a_record_the_later_counts_in_any_order(tmp_path: Path) -> None:
    said = [
        {"a": Record(number=1, value="old")},
        {"a": Record(number=2, value="new"), "b": Record(number=1, value="x")},
        {"b": Record(number=1, value="y")},
    ]
    found = []
    for name, order in (("one", said), ("two", said[::-1])):
        shared = Shared(tmp_path / name)
        for records in order:
            await shared.share(ShareArgs(service="console", records=records))
        found.append(await Shared(tmp_path / name).shared(SharedArgs(service="console")))
    assert found[0] == found[1] == {"a": {"number": 2, "value": "new"}, "b": {"number": 1, "value": "y"}}


async def test_services_do_not_see_each_other_and_root_alone_reads_the_file(tmp_path: Path) -> None:
    shared = Shared(tmp_path / "shared")
    await shared.share(ShareArgs(service="console", records={"a": Record(number=1, value="1")}))
    assert await shared.shared(SharedArgs(service="other")) == {}
    assert ((tmp_path / "shared/console.json").stat().st_mode & 0o777) == 0o600
