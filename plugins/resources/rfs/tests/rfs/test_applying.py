"""A defect while a change is applied: the secondary is not up to date, and the connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs import messages
from safekit_resource_rfs.applying import Receiving
from safekit_resource_rfs.changes import Change, MakeDirectory
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.performing import Means
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.roles import a_pool
from safekit_resource_rfs.storage import Storage

from .loops import in_own_loop
from .test_performing import Line
from .test_receiver import G2, UP


class Deep(Replica):
    """Has a defect at directories of this name."""

    def apply(self, change: Change, *, keep_aside: bool = False) -> None:
        if change.path == b"defect":  # type: ignore[union-attr]
            raise RecursionError("too deep")
        super().apply(change, keep_aside=keep_aside)


@contextlib.asynccontextmanager
async def receiving(tmp_path: Path) -> AsyncIterator[tuple[Receiving, Line]]:
    (tmp_path / "root").mkdir()
    root, storage = os.open(tmp_path / "root", os.O_RDONLY), Storage(tmp_path / "durable")
    storage.load()
    replica, pool = Deep(root), a_pool(1, "all")
    means = Means(storage, Marks(), root, replica, replica, pool, pool, pool)
    machine, line = Receiver(UP, means.marks, "bb"), Line()
    made = Receiving(machine, replica, means=means, timeout_s=60.0, report=lambda *_: None, parted=lambda _: None)
    try:
        made.join(line)  # type: ignore[arg-type]
        yield made, line
    finally:
        await made.close()
        storage.close()
        replica.close()
        os.close(root)


async def hear(made: Receiving, *some: Any) -> None:
    for message in some:
        made.take(message)
        made.act()
        await asyncio.wait_for(made.quiet(), 10.0)


@pytest.mark.parametrize("is_paired", [True, False])
@in_own_loop
async def test_a_defect_leaves_a_secondary_that_is_not_up_to_date(tmp_path: Path, *, is_paired: bool) -> None:
    async with receiving(tmp_path) as (made, line):
        hello = messages.PrimaryHello(messages.VERSION, "aa", Durable(G2, up_to_date=True))
        begin = messages.Begin(messages.Resume.MARKS, 1, False)
        await hear(made, hello, begin, messages.Numbered(1, MakeDirectory(b"d", 0o755, 0, 0)))
        if is_paired:
            await hear(made, messages.Pair(G2, 0, 0))
        assert made.machine.durable.up_to_date == is_paired
        await hear(made, messages.Numbered(2, MakeDirectory(b"defect", 0o755, 0, 0)))
        await asyncio.sleep(0)
        assert line.is_closed and made.link is None
        assert not made.machine.durable.up_to_date
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["d"]
